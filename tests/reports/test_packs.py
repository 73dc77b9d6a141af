"""Packs: small parts put together, with the rows and the order of the parts."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefect_datagen.reports import packs as packs_module
from prefect_datagen.reports.auto import auto_report
from prefect_datagen.reports.dataset_files import DatasetFiles
from prefect_datagen.reports.duckdb_sources import DatasetSource
from prefect_datagen.reports.errors import QueryCancelledError
from prefect_datagen.reports.packs import PackPlan, Packs
from prefect_datagen.reports.query import Cancellation
from prefect_datagen.reports.query_cache import QueryCache
from tests.reports.datasets import write_dataset


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Few parts are many here, and packs have a folder of their own."""
    monkeypatch.setattr(packs_module, "FEW_PARTS", 4)
    monkeypatch.setattr(packs_module, "PACK_PARTS", 3)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def parts_of(folder: Path, count: int) -> list[str]:
    """Parts of two rows; the numbers go on from part to part."""
    folder.mkdir(exist_ok=True)
    paths = [str(folder / f"part-{number:05d}.parquet") for number in range(count)]
    for number, path in enumerate(paths):
        pq.write_table(pa.table({"n": [2 * number, 2 * number + 1], "text": ["0E8", None]}), path)
    return paths


def planned(parts: list[str]) -> PackPlan:
    plan = PackPlan.of(parts)
    assert plan is not None
    return plan


def numbers(files: list[str]) -> list[int]:
    return [number for file in files for number in pq.read_table(file).column("n").to_pylist()]


def test_a_pack_holds_the_rows_of_its_parts_in_their_order(tmp_path: Path) -> None:
    parts = parts_of(tmp_path / "data", 8)
    packs = Packs()
    files = packs.read(planned(parts), Cancellation())
    assert len(files) == 2 + 2
    assert files[2:] == parts[6:]
    assert numbers(files) == list(range(16))
    assert pq.read_table(files[0]).column("text").to_pylist() == ["0E8", None] * 3


def test_a_dataset_that_grows_keeps_its_packs_and_a_part_made_again_gets_another(tmp_path: Path) -> None:
    packs = Packs()
    before = packs.read(planned(parts_of(tmp_path / "data", 6)), Cancellation())
    parts = sorted(map(str, (tmp_path / "data").iterdir()))
    parts.append(str(tmp_path / "data" / "part-00006.parquet"))
    pq.write_table(pa.table({"n": [12, 13], "text": ["a", "b"]}), parts[-1])
    assert packs.read(planned(parts), Cancellation()) == [*before, parts[-1]]
    pq.write_table(pa.table({"n": [-1], "text": ["mended"]}), parts[0])
    mended = packs.read(planned(parts), Cancellation())
    assert mended[0] != before[0]
    assert mended[1:] == [before[1], parts[-1]]
    assert numbers(mended)[:2] == [-1, 2]


def test_queries_that_wait_make_packs_side_by_side_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=30)
    written: list[str] = []
    write = packs_module._write

    def together(pack: packs_module.Pack, path: str, cancel: Cancellation) -> None:
        if len(written) < 2:
            written.append(path)
            both.wait()
        else:
            written.append(path)
        write(pack, path, cancel)

    monkeypatch.setattr(packs_module, "_write", together)
    packs, parts = Packs(), parts_of(tmp_path / "data", 12)
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append(packs.read(planned(parts), Cancellation()))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert len(found[0]) == len(set(written)) == len(written) == 4


def test_a_query_that_nobody_wants_stops_and_what_it_made_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs, parts, cancel = Packs(), parts_of(tmp_path / "data", 6), Cancellation()
    write = packs_module._write

    def and_leave(pack: packs_module.Pack, path: str, given: Cancellation) -> None:
        write(pack, path, given)
        cancel.ask()

    monkeypatch.setattr(packs_module, "_write", and_leave)
    with pytest.raises(QueryCancelledError):
        packs.read(planned(parts), cancel)
    assert repr(packs) == "<Packs made=1 making=0>"
    monkeypatch.setattr(packs_module, "_write", write)
    assert numbers(packs.read(planned(parts), Cancellation())) == list(range(12))


def test_where_no_pack_can_be_written_the_parts_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    packs, parts = Packs(), parts_of(tmp_path / "data", 6)
    os.rmdir(packs.folder())
    Path(packs.folder()).touch()  # a file where the folder should be: nothing can be written below it
    assert packs.read(planned(parts), Cancellation()) == parts
    assert "cannot be put together" in caplog.text
    assert packs.read(planned(parts), Cancellation()) == parts


def test_packs_go_with_their_dataset_and_those_of_killed_processes_are_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = Path(tempfile.gettempdir()) / f"prefect-datagen-packs-{gone.pid}-x"
    left.mkdir()
    packs = Packs()
    folder = Path(packs.folder())
    assert folder.is_dir()
    assert not left.exists()
    del packs
    gc.collect()
    assert not folder.exists()


def test_few_parts_or_large_ones_are_read_as_they_are(tmp_path: Path) -> None:
    parts = parts_of(tmp_path / "data", 5)
    assert PackPlan.of(parts) is not None
    assert PackPlan.of(parts[:4]) is None
    for part in parts:
        os.truncate(part, packs_module.SMALL_PART + 1)
    assert PackPlan.of(parts) is None


def test_the_report_of_many_small_parts_is_that_of_one_large_part(tmp_path: Path) -> None:
    """Every number in it is the same; rows and rejected rows were packed."""
    many = write_dataset(tmp_path / "many", groups=7, size=10)
    with closing(DatasetSource(many)) as source, QueryCache() as cache:
        packed = {view.id: view.as_json() for view in auto_report(source).start(cache).as_ready()}
        assert "made=4" in repr(source.files.packs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs_module, "FEW_PARTS", 1_000)
        with closing(DatasetSource(many)) as source, QueryCache() as cache:
            plain = {view.id: view.as_json() for view in auto_report(source).start(cache).as_ready()}
            assert "made=0" in repr(source.files.packs)
    assert packed == plain
    assert not [view for view in packed.values() if view["error"]]


def test_a_report_keeps_the_packs_of_a_dataset_that_grows(tmp_path: Path) -> None:
    files = DatasetFiles(write_dataset(tmp_path / "many", groups=7, size=10))
    assert files.read().packs is files.read().packs
