"""`prefect-datagen validate`: what it says of seeds, whose rows it reads and keeps none of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.reader import check_seed_rows, open_seed

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


def test_loading_a_config_reads_the_first_line_of_its_seed_and_opening_the_seed_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "seed.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "dataset.yaml").write_text(_CONFIG)
    loaded = DatasetConfig.load(tmp_path / "dataset.yaml")
    assert loaded.seed_config is not None
    told = []
    for read in (check_seed_rows, lambda config, base_dir: open_seed(config, base_dir=base_dir, run_seed=0)):
        with pytest.raises(ConfigError, match="line 3: 1 fields, the header has 2") as refused:
            read(loaded.seed_config, base_dir=tmp_path)
        told.append(refused.value.message)
    assert told[0] == told[1]
