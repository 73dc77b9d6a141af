"""Whether a run goes on with what is on disk, starts anew, or is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from prefect_datagen.config.differences import explain
from prefect_datagen.config.run import ResumeMode
from prefect_datagen.engine.errors import ResumeRefusedError


class Recorded(Protocol):
    """What a dataset says of the run that made it (`run.json`)."""

    @property
    def fingerprint_parts(self) -> Mapping[str, str]: ...

    @property
    def row_group_size(self) -> int: ...


class Course(StrEnum):
    """What a run does with the dataset that is there."""

    START = "start"  # nothing is there
    CONTINUE = "continue"  # keep what is committed, make the rest
    REPAIR = "repair"  # as continue, and make rejected rows again
    SUPERSEDE = "supersede"  # set it aside, keep the paid answers
    RENEW = "renew"  # set it aside with its answers: everything is paid for again


@dataclass(frozen=True)
class Decision:
    """The course, and what differs from what is on disk."""

    course: Course
    differences: tuple[str, ...] = ()


def decide(
    mode: ResumeMode,
    recorded: Recorded | None,
    *,
    parts: Mapping[str, str],
    row_group_size: int | None,
    location: str,
    configs: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
    same_seed_rows: bool = True,
) -> Decision:
    """Choose the course of a run.

    Args:
        mode: what the user asked for.
        recorded: what is on disk, or None.
        parts: fingerprint of each part of the config, the seed data, the seed and the library.
        row_group_size: rows per row group, as asked for; None for those of the dataset that is there.
        location: the dataset, for messages.
        configs: that on disk and that asked for, as plain data, to say which fields differ.
        same_seed_rows: whether the rows of an earlier stage that were used are as they were.

    Raises:
        ResumeRefusedError: `always` or `repair` was asked for, and what is on disk does not fit; every difference is named.
    """
    if recorded is None:
        if mode in (ResumeMode.ALWAYS, ResumeMode.REPAIR):
            raise ResumeRefusedError(f"--resume {mode}: there is no dataset in {location} to resume", path=location)
        return Decision(Course.START)
    if mode is ResumeMode.NEVER:
        return Decision(Course.RENEW)
    differences = tuple(differing(recorded, parts=parts, row_group_size=row_group_size, configs=configs))
    if not same_seed_rows:
        differences += ("seed data changed: the earlier stage has other rows",)
    if not differences:
        return Decision(Course.REPAIR if mode is ResumeMode.REPAIR else Course.CONTINUE)
    if mode is ResumeMode.IF_POSSIBLE:
        return Decision(Course.SUPERSEDE, differences)
    raise ResumeRefusedError(
        f"--resume {mode}: the dataset in {location} was made differently: {'; '.join(differences)} (--resume if-possible "
        "sets it aside and starts anew, paying only for what changed)",
        differences=list(differences),
        path=location,
    )


def differing(
    recorded: Recorded,
    *,
    parts: Mapping[str, str],
    row_group_size: int | None,
    configs: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
) -> list[str]:
    """What differs between a dataset on disk and what is asked for, in words."""
    old = recorded.fingerprint_parts
    names = [name for name in sorted(old.keys() | parts.keys()) if old.get(name) != parts.get(name)]
    differences = [explain(name, old, parts, configs) for name in names]
    if row_group_size is not None and recorded.row_group_size != row_group_size:
        differences.append(
            f"row_group_size: {recorded.row_group_size} on disk, {row_group_size} asked for (committed parts keep theirs)"
        )
    return differences
