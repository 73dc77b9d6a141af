"""From a config and a place to what a run is going to do. Reads only; the plan command stops here, a build goes on."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson
import pyarrow as pa

from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.config.checking import inputs_of
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.differences import plain
from prefect_datagen.config.estimate import Estimate, estimate
from prefect_datagen.config.plan import Plan, make_plan
from prefect_datagen.config.resume import Course, Decision, decide
from prefect_datagen.config.run import ROW_GROUP_SIZE, TABULAR_ROW_GROUP_SIZE, RunConfig
from prefect_datagen.engine.outcomes import DatasetMetadata, RowGroupManifest
from prefect_datagen.storage.parts import rejected_rows
from prefect_datagen.storage.store import RunRecord

_TABULAR = {"sampler", "expression", "sql"}


class ReadableDataset(Protocol):
    """What is read of a dataset that is there."""

    @property
    def location(self) -> str: ...

    def config(self) -> str | None: ...

    def run_record(self) -> RunRecord | None: ...

    def stamp(self) -> Hashable | None: ...

    def committed(self) -> dict[int, RowGroupManifest]: ...

    def metadata(self) -> DatasetMetadata | None: ...

    def rejects(self) -> pa.Table: ...


@dataclass(frozen=True)
class Preparation:
    """What a run is going to do.

    Attributes:
        recorded: what the dataset that is there says of the run that made it, or None.
        seed: the run seed: given, recorded, or drawn.
        blueprint: the dataset.
        decision: what happens to a dataset that is there.
        plan: row groups to do and to reuse.
        stamp: of what is committed, when the plan was made.
        estimate: what it will cost.
        paid: columns whose answers are in the journal and not paid for again.
        repairable: rows that were rejected for a cause that a retry can help, where the run repairs.
        intact: the other rows of their row groups: made again from answers that are there.
    """

    recorded: RunRecord | None
    seed: int
    blueprint: Blueprint
    decision: Decision
    plan: Plan
    stamp: Hashable | None
    estimate: Estimate
    paid: frozenset[str]
    repairable: int
    intact: int


def prepare(config: DatasetConfig, run: RunConfig, *, num_records: int, reader: ReadableDataset | None) -> Preparation:
    """Work out what a run does. `reader` is None for a place that holds nothing.

    Raises:
        ConfigError: the config is wrong.
        ResumeRefusedError: what is there does not fit what is asked.
        SinkError: what is there cannot be read.
    """
    recorded = None if reader is None else reader.run_record()
    stamp = None if reader is None else reader.stamp()
    seed = choose_seed(run, recorded)
    blueprint = Blueprint(config, run, seed=seed)
    blueprint.sampler.require_room(num_records)
    same_seed_rows = _same_seed_rows(blueprint, recorded)
    decision = decide(
        run.resume,
        recorded,
        parts=blueprint.fingerprint_parts,
        row_group_size=run.row_group_size,
        location="" if reader is None else reader.location,
        configs=({}, {}) if reader is None or recorded is None else (plain(reader.config()), plain(config.to_yaml())),
        same_seed_rows=same_seed_rows,
    )
    committed: dict[int, RowGroupManifest] = {}
    repairable = intact = 0
    if reader is not None and decision.course in (Course.CONTINUE, Course.REPAIR):
        committed = reader.committed()
        if decision.course is Course.REPAIR:
            lost = repairable_row_groups(reader, committed)
            repairable = sum(lost.values())
            intact = sum(committed[index].planned for index in lost) - repairable
            committed = {index: manifest for index, manifest in committed.items() if index not in lost}
    size = run.row_group_size or _row_group_size(config, recorded, decision)
    plan = make_plan(num_records, row_group_size=size, committed=committed)
    metadata = None
    if reader is not None and plan.todo and config.model_configs:  # nothing else has a price; it tells all row groups
        metadata = reader.metadata()
    paid, paid_rows = frozenset[str](), 0
    if run.journal and decision.course in (Course.SUPERSEDE, Course.REPAIR):
        paid = paid_columns(blueprint, recorded) if same_seed_rows else frozenset()
        paid_rows = intact if decision.course is Course.REPAIR else metadata.actual_num_records if metadata else 0
    return Preparation(
        recorded=recorded,
        seed=seed,
        blueprint=blueprint,
        decision=decision,
        plan=plan,
        stamp=stamp,
        estimate=estimate(
            blueprint,
            plan,
            known=metadata.usage if metadata else None,
            paid=paid,
            paid_rows=paid_rows,
        ),
        paid=paid,
        repairable=repairable,
        intact=intact,
    )


def _same_seed_rows(blueprint: Blueprint, recorded: RunRecord | None) -> bool:
    """Whether rows of an earlier stage that a dataset was made of are as they were; other seeds have a fingerprint."""
    stream = blueprint.seed_stream
    used = None if recorded is None else recorded.seed_prefix
    return stream is None or used is None or stream.fits(used)


def choose_seed(run: RunConfig, recorded: RunRecord | None) -> int:
    """The seed that was asked for, else that of the dataset, else a new one."""
    if run.seed is not None:
        return run.seed
    return secrets.randbelow(2**31) if recorded is None else recorded.seed


def _row_group_size(config: DatasetConfig, recorded: RunRecord | None, decision: Decision) -> int:
    """Rows in a row group where none are asked for: as in the dataset that the run goes on with, else what suits columns.

    Large ones are only for columns of known cost and width. Seed rows may be documents, processors see a row group at a
    time, and the rest asks models or runs code of the user's.
    """
    if recorded is not None and decision.course in (Course.CONTINUE, Course.REPAIR):
        return recorded.row_group_size
    return TABULAR_ROW_GROUP_SIZE if is_tabular(config) else ROW_GROUP_SIZE


def is_tabular(config: DatasetConfig) -> bool:
    """Whether nothing but samplers, expressions and SQL makes the rows."""
    kinds = {column.column_type for column in config.columns}  # type: ignore[attr-defined]  # every type of column has one
    return kinds <= _TABULAR and config.seed_config is None and not config.processors


def repairable_row_groups(reader: ReadableDataset, committed: Mapping[int, RowGroupManifest]) -> dict[int, int]:
    """Rows that a retry may bring back, by row group."""
    rows = [row.row_index for row in rejected_rows(reader.rejects()) if row.retryable]
    lost: dict[int, int] = {}
    for index, manifest in committed.items():
        count = sum(manifest.start_row <= row < manifest.start_row + manifest.planned for row in rows)
        if count:
            lost[index] = count
    return lost


def paid_columns(blueprint: Blueprint, recorded: RunRecord | None) -> frozenset[str]:
    """Generated columns whose cells are the same as in the recorded build: neither they nor what they read changed."""
    if recorded is None:
        return frozenset()
    old, new = recorded.fingerprint_parts, blueprint.fingerprint_parts
    whole = ("seed data", "run seed", "constraints")
    if any(old.get(name) != new.get(name) for name in whole):
        return frozenset()
    changed = {
        column.name
        for column in blueprint.config.columns
        if old.get(f"column {column.name}") != new[f"column {column.name}"]
        or any(old.get(f"model {alias.column}") != new.get(f"model {alias.column}") for alias in column.model_aliases())
    }
    grown = True
    while grown:
        later = {column.name for column in blueprint.config.columns if changed & set(inputs_of(column))}
        grown = not later <= changed
        changed |= later
    return frozenset(column.name for column in blueprint.config.columns) - changed


def fingerprint(parts: Mapping[str, str]) -> str:
    """One hash of all parts."""
    return hashlib.blake2b(orjson.dumps(dict(parts), option=orjson.OPT_SORT_KEYS), digest_size=12).hexdigest()
