"""Stages: how many rows may come out, which row came from which, and every failure a ProcessorError that says where."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from prefect_datagen.engine.errors import ProcessorError, SinkError
from prefect_datagen.processors import ROW_ID, ProcessorConfig, Stage, run_after_generation, run_processors
from tests.processors.support import make, run_on_parts

IDENTITY = pa.StructArray.from_arrays([pa.array(range(100, 105)), pa.array([0] * 5)], names=["index", "copy"])
ROWS = pa.table({"n": [5, 1, 4, 2, 3], "t": list("eadbc"), ROW_ID: IDENTITY})

FUNCTIONS = """
import pandas as pd
def forget(frame): return frame.drop(columns=["__row_id"])
def forget_some(frame): return frame.drop(columns=["__row_id"]).head(3)
def invent(frame): return frame.assign(__row_id=77)
def double(frame): return pd.concat([frame, frame])
def double_and_forget(frame): return pd.concat([frame, frame]).drop(columns=["__row_id"])
def fails(frame): raise RuntimeError("boom")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(FUNCTIONS)
    return tmp_path


def own(folder: Path, function: str, **config: Any) -> ProcessorConfig:
    return make(folder, processor_type="custom", function=f"own.py:{function}", **config)


def sql(query: str, **config: Any) -> ProcessorConfig:
    return make(processor_type="sql", query=query, **config)


def origins(*processors: ProcessorConfig, stage: Stage = Stage.PRE_BATCH) -> list[int]:
    """The index of the row that each row came from."""
    found = run_processors(processors, ROWS, stage=stage, row_group=3).table
    assert found.schema.field(ROW_ID).type == IDENTITY.type
    return [row["index"] for row in found.column(ROW_ID).to_pylist()]


def test_rows_keep_their_identity_when_they_are_reordered_removed_and_repeated() -> None:
    assert origins(sql("SELECT * FROM rows ORDER BY n")) == [101, 103, 104, 102, 100]
    keep = make(processor_type="filter", condition="n > 2", allow_resize=True)
    assert origins(keep, sql("SELECT * FROM rows ORDER BY n DESC")) == [100, 102, 104]
    repeat = sql("SELECT rows.* FROM rows, range(2) ORDER BY n", allow_resize=True)
    assert origins(repeat) == [101, 101, 103, 103, 104, 104, 102, 102, 100, 100]
    assert origins(make(processor_type="drop_columns", column_names=["*_id", "t", "_*"])) == list(range(100, 105))


def test_rows_whose_identity_is_lost_are_the_old_ones_in_order(folder: Path) -> None:
    in_order = list(range(100, 105))
    assert origins(own(folder, "forget")) == in_order
    assert origins(own(folder, "invent")) == in_order
    assert origins(sql("SELECT n, t FROM rows")) == in_order
    assert origins(own(folder, "forget_some", allow_resize=True)) == in_order[:3]
    assert origins(own(folder, "double_and_forget", allow_resize=True)) == in_order * 2


def test_rows_without_identity_get_none(folder: Path) -> None:
    found = run_processors(
        [sql("SELECT n, t, 1 AS __row_id FROM rows")], ROWS.drop_columns([ROW_ID]), stage=Stage.POST_BATCH, row_group=0
    )
    assert found.table.column_names == ["n", "t"]


@pytest.mark.parametrize(("config", "after"), [({"condition": "n > 2"}, 3), ({"condition": "false"}, 0)])
def test_a_pre_batch_processor_that_removes_rows_is_refused_unless_it_may(config: dict[str, Any], after: int) -> None:
    keep = make(processor_type="filter", **config)
    with pytest.raises(
        ProcessorError, match=rf"pre_batch, row group 3: processor 'p': 5 rows went in and {after} came"
    ):
        run_processors([keep], ROWS, stage=Stage.PRE_BATCH, row_group=3)
    may = make(processor_type="filter", allow_resize=True, **config)
    assert run_processors([may], ROWS, stage=Stage.PRE_BATCH, row_group=3).table.num_rows == after


@pytest.mark.parametrize("stage", [Stage.PRE_BATCH, Stage.POST_BATCH])
def test_a_processor_that_adds_rows_is_refused_unless_it_may(folder: Path, stage: Stage) -> None:
    with pytest.raises(ProcessorError, match=r"5 rows went in and 10 came out.*allow_resize") as caught:
        run_processors([own(folder, "double")], ROWS, stage=stage, row_group=3)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.before, error.after, error.stage, error.row_group) == (5, 10, stage.value, 3)
    assert len(origins(own(folder, "double", allow_resize=True), stage=stage)) == 10


def test_rows_removed_at_post_batch_are_counted_at_each_step(folder: Path) -> None:
    steps = [
        make(processor_type="filter", condition="n > 1"),
        own(folder, "double", allow_resize=True),
        make(processor_type="deduplicate", stage="post_batch", columns=["n"]),
    ]
    found = run_processors(steps, ROWS, stage=Stage.POST_BATCH, row_group=0)
    assert (found.table.num_rows, found.removed) == (4, 1 + 4)


def test_no_rows_need_no_processing_and_still_have_the_right_columns(folder: Path) -> None:
    steps = [own(folder, "fails"), sql("SELECT n AS m, t FROM rows")]
    found = run_processors(steps, ROWS.slice(0, 0), stage=Stage.POST_BATCH, row_group=0)
    assert found.table.column_names == ["m", "t", ROW_ID]


def test_a_failure_names_stage_row_group_processor_and_cause(folder: Path) -> None:
    with pytest.raises(ProcessorError) as caught:
        run_processors([own(folder, "fails")], ROWS, stage=Stage.PRE_BATCH, row_group=7)
    assert str(caught.value) == "pre_batch, row group 7: processor 'p': RuntimeError: boom"
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert caught.value.context() == {
        "stage": "pre_batch",
        "row_group": 7,
        "processor": "p",
        "cause": "RuntimeError: boom",
    }


def test_after_generation_a_failure_names_the_processor_that_failed(folder: Path) -> None:
    steps = [own(folder, "fails", name="first"), make(processor_type="filter", condition="n > 1", name="second")]
    with pytest.raises(ProcessorError, match=r"^after_generation: processor 'first': RuntimeError: boom$"):
        run_on_parts(folder, ROWS.drop_columns([ROW_ID]), *steps)
    assert list((folder / "scratch").iterdir()) == []


def test_after_generation_rows_may_go_but_not_come_unasked(folder: Path, tmp_path: Path) -> None:
    table = ROWS.drop_columns([ROW_ID])
    (tmp_path / "a").mkdir()
    assert run_on_parts(tmp_path / "a", table, make(processor_type="filter", condition="n > 2")).num_rows == 3
    (tmp_path / "b").mkdir()
    with pytest.raises(ProcessorError, match="5 rows went in and 10 came out"):
        run_on_parts(tmp_path / "b", table, own(folder, "double"))
    (tmp_path / "c").mkdir()
    assert run_on_parts(tmp_path / "c", table, own(folder, "double", allow_resize=True)).num_rows == 10


def test_after_generation_processors_follow_one_another_over_parts_of_any_size(tmp_path: Path) -> None:
    table = pa.table({"n": list(range(1_000)) * 2})
    steps = [
        make(processor_type="deduplicate"),
        sql("SELECT n, n % 10 AS digit FROM rows ORDER BY n DESC"),
        make(processor_type="filter", condition="digit = 3"),
        make(processor_type="rename", columns={"n": "m"}),
    ]
    found = run_on_parts(tmp_path, table, *steps, part_rows=130)
    assert found.column_names == ["m", "digit"]
    assert found.column("m").to_pylist() == list(range(993, 0, -10))


def test_small_parts_become_large_ones(tmp_path: Path) -> None:
    paths = []
    for number in range(50):
        paths.append(tmp_path / f"{number}.parquet")
        pq.write_table(pa.table({"n": range(number * 5_000, (number + 1) * 5_000)}), paths[-1])
    dataset = pads.dataset(paths)
    found = list(run_after_generation([], dataset))
    assert [table.num_rows for table in found] == [100_000, 100_000, 50_000]
    assert pa.concat_tables(found).column("n").to_pylist() == list(range(250_000))


def test_a_part_that_cannot_be_read_is_a_sink_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": range(5)}), path)
    dataset = pads.dataset([path])
    path.unlink()
    with pytest.raises(SinkError, match="the committed rows cannot be read"):
        list(run_after_generation([make(processor_type="filter", condition="n > 1")], dataset))


def test_nothing_is_left_behind_by_a_reader_that_stops_early(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": range(300_000)}), path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found: Iterator[pa.Table] = run_after_generation(
        [make(processor_type="deduplicate")], pads.dataset([path]), scratch=scratch
    )
    next(found)
    assert len(list(scratch.iterdir())) == 1
    found.close()  # type: ignore[attr-defined]
    assert list(scratch.iterdir()) == []
