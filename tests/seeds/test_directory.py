"""Files of a folder as rows: where they are, what they hold, or several records each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.reader import SeedReader, open_seed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "docs/b.md": "# B\ntext\r\n",
        "docs/a.md": "# A\n",
        "docs/inner/c.md": "# C\n# D\n",
        "docs/n.txt": "x",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    (tmp_path / "take.py").write_text(
        "def headings(file):\n"
        "    for number, line in enumerate(file.read_text().splitlines()):\n"
        "        if line.startswith('#'):\n"
        "            yield {'number': number, 'heading': line[2:]}\n"
        "def failing(file):\n"
        "    raise KeyError(file.name)\n"
    )
    return tmp_path


def read(folder: Path, **source: Any) -> SeedReader:
    config = SeedConfig.model_validate({"source": {"path": "docs", **source}})
    return open_seed(config, base_dir=folder, run_seed=1)


def rows(reader: SeedReader) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = reader.read(0, reader.num_rows).to_pylist()
    return found


def test_directory_gives_a_row_a_file(folder: Path) -> None:
    found = rows(read(folder, seed_type="directory", file_pattern="*.md"))
    assert [row["relative_path"] for row in found] == ["a.md", "b.md", "inner/c.md"]
    assert found[2] == {
        "source_kind": "directory_file",
        "source_path": str(folder / "docs/inner/c.md"),
        "relative_path": "inner/c.md",
        "file_name": "c.md",
    }


def test_without_recursion_only_the_folder_itself_is_looked_at(folder: Path) -> None:
    found = rows(read(folder, seed_type="directory", recursive=False))
    assert [row["file_name"] for row in found] == ["a.md", "b.md", "n.txt"]


def test_file_contents_are_the_text_as_it_stands(folder: Path) -> None:
    found = rows(read(folder, seed_type="file_contents", file_pattern="b.md"))
    assert found[0]["content"] == "# B\ntext\r\n"
    assert found[0]["source_kind"] == "file_contents"


def test_file_contents_in_the_wrong_encoding_name_the_file(folder: Path) -> None:
    (folder / "docs/latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.txt"):
        read(folder, seed_type="file_contents", file_pattern="*.txt")
    found = rows(read(folder, seed_type="file_contents", file_pattern="latin.txt", encoding="latin-1"))
    assert found[0]["content"] == "é"


@pytest.mark.parametrize("row_group", [1, 2, 3, 4, 100])
def test_each_record_of_a_file_is_taken_once_whatever_the_row_group_size(folder: Path, row_group: int) -> None:
    reader = read(folder, seed_type="file_records", file_pattern="*.md", function="take.py:headings")
    assert reader.num_rows == 4
    pieces = [reader.read(at, min(row_group, 4 - at)) for at in range(0, 4, row_group)]
    found = [row for piece in pieces for row in piece.to_pylist()]
    assert [(row["relative_path"], row["number"], row["heading"]) for row in found] == [
        ("a.md", 0, "A"),
        ("b.md", 0, "B"),
        ("inner/c.md", 0, "C"),
        ("inner/c.md", 1, "D"),
    ]


def test_a_function_that_fails_names_the_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.md: take\.py:failing: KeyError"):
        read(folder, seed_type="file_records", function="take.py:failing")


def test_the_fingerprint_covers_names_and_contents(folder: Path) -> None:
    before = read(folder, seed_type="directory").fingerprint
    (folder / "docs/a.md").write_text("# other\n")
    changed = read(folder, seed_type="directory").fingerprint
    (folder / "docs/a.md").rename(folder / "docs/z.md")
    assert len({before, changed, read(folder, seed_type="directory").fingerprint}) == 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"seed_type": "directory", "path": "nowhere"}, "does not exist"),
        ({"seed_type": "directory", "path": "take.py"}, "is a file"),
        ({"seed_type": "directory", "file_pattern": "*.pdf"}, r"no file matches '\*\.pdf'"),
    ],
)
def test_folders_that_give_nothing_are_refused(folder: Path, source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(folder, **source)


@pytest.mark.parametrize("source", [{"file_pattern": "a/*.md"}, {"encoding": "utf-99"}])
def test_wrong_fields_are_refused(folder: Path, source: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(folder, seed_type="file_contents", **source)
