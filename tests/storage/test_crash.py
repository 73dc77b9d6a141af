"""A writer killed with SIGKILL between any two steps: the dataset reads as before or after, and the work can go on."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.dataset as ds
import pytest

from prefect_datagen.storage import DatasetReader

SCRIPT = Path(__file__).with_name("crash.py")


def _load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("crash", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


crash = _load_script()


@pytest.fixture
def folder_in_memory() -> Iterator[Path]:
    """On a disk, hundreds of flushes would take a minute; what they are for, a power cut, is not tested here."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        yield Path(name)


def ignore(_: str) -> None: ...


def prepare(scenario: str, folder: Path) -> None:
    """The dataset as it is before the change that is interrupted."""
    if scenario in ("open", "begin"):
        return
    with crash.open_dataset(scenario, folder, on_step=ignore) as store:
        store.write_run(crash.RUN)
        store.commit(crash.commit(0))
        store.write_metadata(crash.metadata(2))
        if scenario.startswith("publish"):
            store.publish([store.generated().to_table().select(["code"])], schema=crash.SCHEMA.remove(1))


def reads(folder: Path) -> dict[str, Any]:
    """Everything that can be read of a dataset, also by a reader that knows no manifests."""
    reader = DatasetReader(folder)
    data = folder / "data"
    return {
        "rows": reader.dataset().to_table().to_pylist(),
        "committed": sorted(reader.committed()),
        "rejects": reader.rejects().to_pylist(),
        "traces": reader.traces().to_pylist(),
        "run": reader.run_record(),
        "config": reader.config(),
        "metadata": reader.metadata(),
        "parts": {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in sorted(data.glob("*.parquet"))},
        "rows by folder": ds.dataset(data, format="parquet").to_table().to_pylist() if data.is_dir() else [],
    }


@pytest.mark.parametrize("scenario", crash.SCENARIOS)
def test_a_writer_killed_at_any_step_leaves_before_or_after(scenario: str, folder_in_memory: Path) -> None:
    template, out = folder_in_memory / "template", folder_in_memory / "out"
    out.mkdir()
    prepare(scenario, template)
    before = reads(template)
    process = subprocess.run(
        [sys.executable, str(SCRIPT), scenario, str(template), str(out)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    *killed, ended = [json.loads(line) for line in process.stdout.splitlines()]
    after = reads(Path(ended["folder"]))
    assert killed
    for run in killed:
        folder = Path(run["folder"])
        # As it lies there, with nobody having opened it since, each thing is already one or the other. Not so for
        # readers that know no manifests, nor between two renames where no two folders can be exchanged in one step.
        left = reads(folder)
        rows = () if scenario == "publish by renames" else ("rows",)
        for key in ("committed", "rejects", "traces", "metadata", "run", "config", *rows):
            assert left[key] in (before[key], after[key]), (run["step"], key)
        # Opened again, it is one of the two for every reader, whatever it knows.
        with crash.open_dataset(scenario, folder, on_step=ignore):
            recovered = reads(folder)
        if scenario != "begin":  # which is two changes
            assert recovered in (before, after), run["step"]
        assert not [path for path in folder.rglob(".*") if path.name.endswith((".tmp", ".building", ".old"))]
        # And the same change can be made again, with the same bytes.
        with crash.open_dataset(scenario, folder, on_step=ignore) as store:
            crash.change(scenario, store)
        assert reads(folder) == after, run["step"]
