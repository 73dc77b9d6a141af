"""The README does what it says: its blocks run, its commands exist, its promises print as shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from prefect_datagen import DatasetConfig, RunConfig, preview_dataset

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Fenced blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.usefixtures("prefect_api")
def test_the_python_block_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "100 of 100 rows written (100.0 %)" in printed
    assert "\n400\n" in printed


@pytest.mark.usefixtures("prefect_api")
def test_the_config_block_is_right_and_runs() -> None:
    (text,) = blocks("yaml")
    config = DatasetConfig.load(text)
    preview = preview_dataset(config, num_records=20, run=RunConfig(seed=3))
    assert len(preview.dataset) == 20
    assert set(preview.dataset["product"]) <= {"kettle", "lamp", "0E8"}


def test_every_command_that_it_names_exists() -> None:
    (commands,) = [block for block in blocks("text") if "prefect-datagen validate" in block]
    named = set(re.findall(r"(?:prefect-datagen|\|) ([a-z-]+) ", commands))
    help_text = subprocess.run(
        [sys.executable, "-m", "prefect_datagen.cli.main", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert named <= set(re.findall(r"[a-z-]+", help_text))


def test_every_page_that_it_links_is_there() -> None:
    for target in re.findall(r"\]\(((?:docs|examples)/[^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_page_of_the_docs_links_to_pages_that_are_there() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+\.md)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links {target}"
