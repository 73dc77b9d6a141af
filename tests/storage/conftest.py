"""Datasets, disks that are full or read-only, and stores to write to."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.engine.outcomes import DatasetMetadata, RejectedRow, Verdict
from prefect_datagen.storage import (
    DatasetDirectory,
    MemoryDataset,
    MemoryStore,
    RowGroupCommit,
    RowGroupStore,
    RunRecord,
)
from tests.object_store import ObjectStore

SCHEMA = pa.schema([pa.field("code", pa.string()), pa.field("visits", pa.int64()), pa.field("score", pa.float64())])
CODES = ["0E8", "00M", "1.10", "null", "true", "NA", "", "é", "0123", "-0"]
MOMENT = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def schema() -> pa.Schema:
    return SCHEMA


@pytest.fixture
def make_commit() -> Callable[..., RowGroupCommit]:
    """A row group of ten rows, of which the last is rejected where `rejects` is true."""

    def make(
        index: int, *, rejects: bool = False, trace: bool = False, rows: int = 10, **changes: Any
    ) -> RowGroupCommit:
        written = rows - 1 if rejects else rows
        table = pa.table(
            {
                "code": [CODES[number % len(CODES)] for number in range(written)],
                "visits": pa.array(
                    [None if number == 3 else index * 100 + number for number in range(written)], pa.int64()
                ),
                "score": [number / 7 for number in range(written)],
            },
            schema=SCHEMA,
        )
        rejected = RejectedRow(
            row_index=index * rows + rows - 1,
            column="score",
            error_type="ModelError",
            reason="400",
            message="the endpoint said 400",
            attempts=2,
            retryable=False,
            answer="{not json",
            values={"code": "0E8", "visits": 2**53 + 1},
        )
        fields: dict[str, Any] = {
            "index": index,
            "start_row": index * rows,
            "planned": rows,
            "requested": rows,
            "table": table,
            "rejects": [rejected] if rejects else [],
            "trace": pa.table({"column": ["score"], "row_group": [index]}) if trace else None,
            "fingerprint": "f" * 16,
        }
        return RowGroupCommit(**{**fields, **changes})

    return make


@pytest.fixture
def run_record() -> RunRecord:
    return RunRecord(
        seed=7,
        row_group_size=10,
        fingerprint="f" * 16,
        fingerprint_parts={"column:score": "abc"},
        library_version="0.1.0",
        created_at=MOMENT,
    )


@pytest.fixture
def metadata() -> DatasetMetadata:
    return DatasetMetadata(
        name="airports",
        status=Verdict.COMPLETE,
        target_num_records=20,
        actual_num_records=19,
        row_group_size=10,
        seed=7,
        fingerprint="f" * 16,
        started_at=MOMENT,
        ended_at=MOMENT,
        seconds=0.0,
    )


@pytest.fixture(params=["local", "remote", "s3", "memory"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., RowGroupStore]]:
    """Opens a store of each kind. What is opened is closed at the end of the test."""
    opened: list[RowGroupStore] = []
    memory = MemoryDataset()
    place, options = str(tmp_path / "dataset"), dict[str, Any]()
    if request.param == "remote":
        place = f"memory://{uuid.uuid4().hex}/dataset"
    elif request.param == "s3":
        server: ObjectStore = request.getfixturevalue("s3")
        place, options = server.new_url(), server.options

    def open_one(*, schema: pa.Schema = SCHEMA, staged: bool = False) -> RowGroupStore:
        store: RowGroupStore
        if request.param == "memory":
            store = MemoryStore(schema=schema, staged=staged, dataset=memory)
        else:
            store = DatasetDirectory(place, schema=schema, staged=staged, storage_options=options)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not possible here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of its own of so many bytes (`"64k"`). Asked again, it is resized."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def resize(size: str) -> Path:
        nonlocal mounted
        if mounted:
            _mount("-o", f"remount,size={size}", str(place))
        else:
            _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
        mounted = True
        return place

    yield resize
    if mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Makes a folder read-only, for root too."""
    frozen: list[Path] = []

    def freeze(folder: Path) -> None:
        _mount("--bind", str(folder), str(folder))
        frozen.append(folder)
        _mount("-o", "remount,ro,bind", str(folder))

    yield freeze
    for folder in frozen:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
