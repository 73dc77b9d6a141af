"""Names of the files in a dataset directory. All paths are relative to it and written with `/`.

Every name that is not for readers starts with a dot, which pyarrow, pandas and Spark skip.
"""

from __future__ import annotations

import re

CONFIG = "config.yaml"
RUN = "run.json"
METADATA = "metadata.json"
JOURNAL = "journal.sqlite"
JOURNALS = "journals"

DATA = "data"
ROW_GROUPS = "row_groups"
STAGED_MARK = "row_groups/.staged"
REJECTS = "rejects"
TRACES = "traces"
MANIFESTS = "manifests"
ARTIFACTS = "artifacts"

LOCK = ".lock"
HOLDER = ".lock.json"
RESULTS = ".results"
SUPERSEDED = ".superseded"
SUPERSEDING = ".superseded/unfinished"
BUILDING = ".data.building"
SWAPPED_OUT = ".data.old"
SWAP = ".data.swap"

PART_FOLDERS = (DATA, ROW_GROUPS, REJECTS, TRACES)

JOURNAL_FILES = (JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", JOURNALS)

SET_ASIDE = (METADATA, MANIFESTS, RUN, CONFIG, DATA, ROW_GROUPS, REJECTS, TRACES, ARTIFACTS, RESULTS)
"""What `supersede` moves, in this order: the verdict goes first, then what is committed. The lock stays, and so
does every file that this package does not know."""

_PART = re.compile(r"part-(\d{5,})\.(?:parquet|json)")
_RESULT = re.compile(r"row-group-(\d{5,})(?:-.*)?")


def part_path(folder: str, index: int) -> str:
    """Path of a row group's Parquet part in `folder`."""
    return f"{folder}/part-{index:05d}.parquet"


def manifest_path(index: int) -> str:
    """Path of a row group's manifest."""
    return f"{MANIFESTS}/part-{index:05d}.json"


def part_index(name: str) -> int | None:
    """Row group that a part or manifest of this file name belongs to, or None for any other file."""
    match = _PART.fullmatch(name)
    return int(match[1]) if match else None


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that was being written."""
    return name.startswith(".") and name.endswith(".tmp")


def result_key(index: int, *, fingerprint: str) -> str:
    """Key under which an orchestrator stores the result of one row group; `result_index` reads it back."""
    return f"row-group-{index:05d}-{fingerprint}"


def result_index(key: str) -> int | None:
    """Row group that a result key speaks of, or None where it is another kind of result."""
    match = _RESULT.fullmatch(key)
    return int(match[1]) if match else None
