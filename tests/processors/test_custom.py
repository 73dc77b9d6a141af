"""Functions of users: pandas or Arrow, held to what they announce; text is never retyped on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.engine.errors import ConfigError, ProcessorError
from prefect_datagen.processors import Stage
from tests.processors.support import CODES, codes, make, run, run_on_parts

FUNCTIONS = """
import pandas as pd
import pyarrow as pa

def same(frame): return frame
def lengths(frame, extra=0): return frame.assign(length=frame["code"].str.len() + extra)
def lengths_arrow(table): return table.append_column("length", pa.compute.utf8_length(table["code"]))
def fewer(frame): return frame[frame["n"] > 4]
def count(frame): return frame.assign(total=len(frame))
def numbered(tables):
    for at, table in enumerate(tables):
        yield table.append_column("total", pa.array([at] * table.num_rows, pa.int64()))
def as_numbers(frame): return frame.assign(code=1)
def as_text(frame): return frame.assign(n="1")
def parsed_text(table): return table.set_column(1, "n", pa.array(["1"] * table.num_rows))
def mixed(frame): return frame.assign(code=[1, "x"] * (len(frame) // 2))
def without(frame): return frame.drop(columns=["code"])
def twice(frame): return pd.concat([frame, frame["code"]], axis=1)
def nothing(frame): return None
def fails(frame): raise KeyError("lost")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(FUNCTIONS)
    return tmp_path


def custom(folder: Path, function: str, **config: Any) -> Any:
    return make(folder, processor_type="custom", function=f"own.py:{function}", **config)


@pytest.mark.parametrize("takes", ["pandas", "arrow"])
def test_rows_pass_through_unchanged(folder: Path, takes: str) -> None:
    assert run(codes(), custom(folder, "same", takes=takes)).equals(codes())
    assert run_on_parts(folder, codes(), custom(folder, "same", takes=takes)).equals(codes())


def test_whole_numbers_stay_whole_where_some_are_missing(folder: Path) -> None:
    large = pa.table({"n": pa.array([2**53 + 1, None, -1], pa.int64()), "b": [True, None, False]})
    assert run(large, custom(folder, "same")).equals(large)


@pytest.mark.parametrize(("function", "takes"), [("lengths", "pandas"), ("lengths_arrow", "arrow")])
def test_announced_columns_are_added_with_their_type(folder: Path, function: str, takes: str) -> None:
    processor = custom(folder, function, takes=takes, output_columns={"length": "int"})
    found = run(codes(), processor)
    assert found.schema == processor.output_schema(codes().schema)
    assert found.column("length").equals(pa.chunked_array([[len(code) for code in CODES]]))
    assert list(processor.adds()) == ["length"]


def test_parameters_are_handed_on(folder: Path) -> None:
    processor = custom(folder, "lengths", output_columns={"length": "int"}, params={"extra": 10})
    assert run(codes(), processor).column("length").to_pylist() == [len(code) + 10 for code in CODES]


def test_columns_may_be_taken_away(folder: Path) -> None:
    processor = custom(folder, "without", removed_columns=["code"])
    assert run(codes(), processor).column_names == ["n", "tags", "when", "took"]
    with pytest.raises(ConfigError, match="'gone', which is not there"):
        custom(folder, "without", removed_columns=["gone"]).output_schema(codes().schema)


def test_rows_may_be_removed(folder: Path) -> None:
    assert run(codes(), custom(folder, "fewer")).column("code").to_pylist() == ["true", "1.10", "007", ""]


def test_after_generation_a_table_holds_all_rows_and_batches_are_one_table_each(folder: Path, tmp_path: Path) -> None:
    all_rows = custom(folder, "count", output_columns={"total": "int"}, stage="after_generation")
    assert run_on_parts(tmp_path, codes(), all_rows).column("total").to_pylist() == [8] * 8
    (tmp_path / "scratch").rmdir()
    batches = custom(
        folder, "numbered", output_columns={"total": "int"}, stage="after_generation", takes="arrow_batches"
    )
    assert run_on_parts(tmp_path, codes(), batches).column("total").to_pylist() == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("function", "config", "message"),
    [
        ("lengths", {}, "columns not announced: 'length'"),
        ("same", {"output_columns": {"length": "int"}}, "columns missing: 'length'"),
        ("without", {}, "columns missing: 'code'"),
        ("twice", {}, "duplicate column name 'code'"),
        ("as_numbers", {}, "column 'code' is int64, and was announced as string"),
        ("as_text", {}, "column 'n' is .*string, and was announced as int32"),
        ("parsed_text", {"takes": "arrow"}, "column 'n' is string, and was announced as int32"),
        ("mixed", {}, "a column holds values of different kinds"),
        ("nothing", {}, "gave a NoneType, not a pandas.DataFrame"),
        ("nothing", {"takes": "arrow"}, "gave a NoneType, not a pyarrow.Table"),
        ("fails", {}, "KeyError: 'lost'"),
    ],
)
def test_a_function_that_does_not_keep_its_word_ends_the_run(
    folder: Path, function: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProcessorError, match=f"^post_batch, row group 3: processor 'p': .*{message}") as caught:
        run(codes(), custom(folder, function, **config))
    assert caught.value.context()["processor"] == "p"


def test_functions_that_cannot_be_loaded_are_told(folder: Path) -> None:
    ((field, message),) = custom(folder, "sam").check([])
    assert (field, "did you mean 'same'" in message) == ("function", True)
    ((field, _),) = custom(folder, "same", takes="arrow_batches").check([])
    assert field == "takes"


def test_its_source_is_that_of_the_function(folder: Path) -> None:
    (source,) = custom(folder, "fewer").source_code()
    assert source == 'def fewer(frame): return frame[frame["n"] > 4]'


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("str", pa.string()),
        ("list[list[int]]", pa.list_(pa.list_(pa.int64()))),
        ("datetime", pa.timestamp("us")),
        ("int8", pa.int8()),
        ("string_view", pa.string()),
    ],
)
def test_types_by_name(folder: Path, name: str, kind: pa.DataType) -> None:
    processor = custom(folder, "same", output_columns={"a": name})
    assert processor.output_schema(pa.schema([])).field("a").type == kind


def test_an_unknown_type_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="unknown type 'number'"):
        custom(folder, "same", output_columns={"a": "number"})


def test_a_custom_processor_at_post_batch_is_the_default(folder: Path) -> None:
    assert custom(folder, "same").stage is Stage.POST_BATCH
