"""`prefect-datagen validate`: what it says of seeds, whose rows it reads and keeps none of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CONFIG = """
seed_config:
  source: {seed_type: local, path: seed.csv}
  selection_strategy: {start: 0, end: 1}
columns:
  - {name: a, column_type: seed-dataset}
"""


def _validate(folder: Path, seed: str) -> subprocess.CompletedProcess[str]:
    (folder / "seed.csv").write_text(seed)
    (folder / "dataset.yaml").write_text(_CONFIG)
    command = [sys.executable, "-m", "prefect_datagen.cli.main", "validate", "dataset.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_a_right_seed(tmp_path: Path) -> None:
    done = _validate(tmp_path, "a,b\n1,2\n3,4\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "dataset.yaml: right (1 columns)\n", "")


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        ("a,b\n1,2\n3\n", "dataset.yaml: seed_config: seed file {folder}/seed.csv, line 3: 1 fields, the header has 2"),
        ("a,b\n1,2\n", "dataset.yaml: seed_config: seed selection 0..1 goes beyond the seed's 1 rows"),
        ("a,b\n", "dataset.yaml: seed_config: seed source (local) has no rows"),
        (
            "",
            "dataset.yaml:3: seed_config: seed file {folder}/seed.csv: is empty; the first line is to hold the column names",
        ),
        ("b\n1\n2\n", "dataset.yaml:6: columns[0].name: the seed data has no column 'a'"),
    ],
)
def test_a_wrong_seed_is_told_with_its_line(tmp_path: Path, seed: str, message: str) -> None:
    done = _validate(tmp_path, seed)
    assert done.returncode == 2
    assert done.stderr == f"error: the config is wrong:\n  {message.format(folder=tmp_path)}\n"
