"""Plug-ins of other packages join the vocabulary; broken ones are named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLUGIN = """
from typing import Literal
import pyarrow as pa
from prefect_datagen.seeds.base import SeedSource
from prefect_datagen.seeds.spool import spool

class CountingSeedSource(SeedSource):
    seed_type: Literal["counting"] = "counting"
    stop: int

    def open(self, base_dir):
        table = pa.table({"n": list(range(self.stop))})
        return spool([table], table.schema)
"""
USE = """
from pathlib import Path
from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.reader import open_seed
config = SeedConfig.model_validate({"source": {"seed_type": "counting", "stop": 3}})
print(open_seed(config, base_dir=Path(), run_seed=1).read(0, 5).to_pydict())
"""


def run(folder: Path, entry_point: str, script: str = USE) -> subprocess.CompletedProcess[str]:
    """Run a script with a package `counting` installed that declares one entry point."""
    (folder / "counting.py").write_text(PLUGIN)
    info = folder / "counting-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[prefect_datagen.plugins]\n{entry_point}\n")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)


def test_a_seed_source_of_another_package_is_used_like_any_other(tmp_path: Path) -> None:
    done = run(tmp_path, "seeds.counting = counting:CountingSeedSource")
    assert (done.stdout.strip(), done.stderr) == ("{'n': [0, 1, 2, 0, 1]}", "")


def test_a_plugin_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "seeds.counting = counting:Missing")
    assert "plug-in 'seeds.counting' of counting cannot be loaded" in done.stderr


def test_a_plugin_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "seeds.counting = counting:spool")
    assert "'counting:spool' is not a subclass of SeedSource" in done.stderr


def test_other_families_are_left_alone(tmp_path: Path) -> None:
    done = run(tmp_path, "other.counting = counting:Missing", "import prefect_datagen.seeds.config; print('fine')")
    assert done.stdout.strip() == "fine"
