"""Paths are found beside the config first, then in the current folder; contents are known by their digest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.files import SeedFile, find_files, resolve


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A config's folder and the current folder, each with a file of the same name and one of its own."""
    for folder in ("config", "current"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "both.csv").write_text(f"a\n{folder}\n")
        (tmp_path / folder / f"{folder}.csv").write_text(f"a\n{folder}\n")
    return tmp_path / "config", tmp_path / "current"


def test_the_configs_folder_comes_before_the_current_one(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, current = folders
    monkeypatch.chdir(current)
    assert resolve("both.csv", base) == base / "both.csv"
    assert resolve("current.csv", base) == current / "current.csv"
    assert [file.path for file in find_files("c*.csv", base)] == [str(base / "config.csv")]
    assert [file.path for file in find_files("cu*.csv", base)] == [str(current / "current.csv")]
    assert resolve(str(current / "both.csv"), base) == current / "both.csv"


def test_what_was_tried_is_named(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    base, current = folders
    monkeypatch.chdir(current)
    for find in (resolve, find_files):
        with pytest.raises(ConfigError) as caught:
            find("missing.csv", base)
        assert str(base / "missing.csv") in str(caught.value)
        assert str(current / "missing.csv") in str(caught.value)


def test_a_folder_means_its_files_of_known_formats_and_a_glob_any_depth(tmp_path: Path) -> None:
    for name in ("b/2.csv", "a/1.csv.gz", "README.md", ".hidden/3.csv", "_temporary/4.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a\n")
    found = [Path(file.path).relative_to(tmp_path).as_posix() for file in find_files(".", tmp_path)]
    assert found == ["a/1.csv.gz", "b/2.csv"]
    assert len(find_files("**/*.csv", tmp_path)) == 2
    with pytest.raises(ConfigError, match="no file found"):
        find_files(".hidden/*.parquet", tmp_path)


def test_the_name_of_the_configs_folder_is_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "run[1]*"
    folder.mkdir()
    (folder / "a.csv").write_text("a\n")
    assert [file.path for file in find_files("*.csv", folder)] == [str(folder / "a.csv")]
    assert len(find_files(str(tmp_path / "run*" / "*.csv"), tmp_path)) == 1


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    file = SeedFile(str(tmp_path / "gone.csv"))
    for use in (file.identity, file.digest, file.open):
        with pytest.raises(ConfigError, match=r"gone\.csv: .*No such file"):
            use()


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "rows[1].csv").write_text("a\n")
    assert len(find_files("rows[1].csv", tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.parquet", ".parquet"),
        ("A.CSV", ".csv"),
        ("a.jsonl.gz", ".jsonl"),
        ("a.json", ".json"),
        ("a.parquet.gz", None),
        ("a.txt", None),
        ("csv", None),
    ],
)
def test_formats(name: str, expected: str | None) -> None:
    assert SeedFile(name).format == expected


def test_the_digest_follows_the_content_and_not_the_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    assert SeedFile(str(one)).digest() == SeedFile(str(two)).digest()
    before = SeedFile(str(one)).digest()
    one.write_bytes(b"else")  # of the same size
    os.utime(one, ns=(1, 1))
    assert SeedFile(str(one)).digest() != before
