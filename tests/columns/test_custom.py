"""Values made by a user's function."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import BaseModel, ValidationError

from prefect_datagen.columns.custom import CustomColumnConfig, Resized, custom_column_generator
from prefect_datagen.engine.chat import ChatAnswer, ChatRequest
from prefect_datagen.engine.errors import CellError, ErrorKind, ModelError, ProcessorError
from prefect_datagen.engine.node import LOOP, THREADS, ColumnNode, FullColumn, Strategy
from tests.columns.fakes import FakeModels, cell, context, make, make_batch, problems

TYPES = {"text": pa.string(), "n": pa.int64()}


class Params(BaseModel):
    times: int


def column(function: Any, **fields: Any) -> CustomColumnConfig:
    return CustomColumnConfig.model_validate(
        {"name": "made", "generator_function": function, "input_columns": ["text"], **fields}
    )


def node(function: Any, **fields: Any) -> ColumnNode:
    return column(function, **fields).build(context(TYPES))


def full(function: Any, *, columns: dict[str, Any] | None = None, **fields: Any) -> FullColumn:
    built = node(function, generation_strategy="full_column", **fields)
    return make_batch(built, **(columns or {"text": ["b", "a", "c"]}))


def upper(row: dict[str, Any]) -> str:
    return str(row["text"]).upper()


async def aupper(row: dict[str, Any]) -> str:
    await asyncio.sleep(0)
    return str(row["text"]).upper()


class Upper:
    def __call__(self, row: dict[str, Any]) -> str:
        return upper(row)


class AsyncUpper:
    async def __call__(self, row: dict[str, Any]) -> str:
        return upper(row)


# --- cell by cell


@pytest.mark.parametrize(
    ("function", "resource"),
    [(upper, THREADS), (aupper, LOOP), (Upper(), THREADS), (AsyncUpper(), LOOP), (partial(upper), THREADS)],
)
def test_a_function_makes_a_cell_in_a_thread_or_on_the_loop(function: Any, resource: str) -> None:
    built = node(function)
    assert (built.strategy, built.resource, built.inputs) == (Strategy.CELL, resource, ("text",))
    assert make(built, text="0e8") == {"made": "0E8"}


def test_blocking_code_does_not_run_on_the_loop_and_async_code_does() -> None:
    assert (
        make(node(lambda row: threading.current_thread() is threading.main_thread(), dtype="bool"), text="")["made"]
        is False
    )

    async def where(row: dict[str, Any]) -> bool:
        return threading.current_thread() is threading.main_thread()

    assert make(node(where, dtype="bool"), text="")["made"] is True


def test_a_function_is_named_by_file_or_module(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("def shout(row):\n    return row['text'] + '!'\n")
    config = column("code.py:shout")
    config.place_in(tmp_path)
    assert (problems(config), make(config.build(context(TYPES)), text="a")) == ({}, {"made": "a!"})
    assert "row['text'] + '!'" in "".join(config.source_code())
    assert config.model_dump(mode="json")["generator_function"] == "code.py:shout"
    assert column(upper).model_dump(mode="json")["generator_function"].endswith(":upper")


def test_a_copy_of_a_config_keeps_function_and_parameters() -> None:
    config = column(upper, generator_params=Params(times=2))
    again = CustomColumnConfig.model_validate(config.model_dump())
    assert (again.generator_function, again.generator_params) == (upper, {"times": 2})


def test_what_a_function_declares_counts() -> None:
    @custom_column_generator(required_columns=["n"], side_effect_columns=["extra"], model_aliases=["writer"])
    def declared(row: dict[str, Any]) -> dict[str, Any]:
        return {"made": f"{row['text']}{row['n']}", "extra": "x"}

    config = column(declared, side_effect_columns={"size": "int"})
    assert [(each.column, each.field) for each in config.references()] == [
        ("n", "generator_function"),
        ("text", "input_columns"),
    ]
    assert [alias.column for alias in config.model_aliases()] == ["writer"]
    assert config.produces() == ("made", "extra", "size")
    assert config.types(TYPES) == (pa.string(), pa.string(), pa.int64())


def test_a_row_may_be_returned_whole_with_its_side_columns() -> None:
    def both(row: dict[str, Any]) -> dict[str, Any]:
        row["made"], row["size"] = row["text"], len(row["text"])
        return row

    built = node(both, side_effect_columns={"size": "int"})
    work = cell(built, text="abc")
    assert make(built, text="abc") == {"made": "abc", "size": 3}
    assert work.inputs == {"text": "abc"}


def test_what_a_function_does_to_its_row_stays_with_it() -> None:
    def spoil(row: dict[str, Any]) -> str:
        row["text"]["tags"].append("spoilt")
        return "done"

    for function in (spoil, ask_nothing):
        built = node(function)
        work = cell(built, text={"tags": ["a"]})
        asyncio.run(built.generator.generate(work))  # type: ignore[union-attr]
        assert work.inputs == {"text": {"tags": ["a"]}}


async def ask_nothing(row: dict[str, Any]) -> str:
    row["text"]["tags"].clear()
    return "done"


def test_a_function_gets_only_the_columns_that_it_declares() -> None:
    assert make(node(lambda row: sorted(row), dtype="json"), text="a", n=1) == {"made": '["text"]'}
    with pytest.raises(CellError, match=r"KeyError: 'n' \(the function is given the columns it declares: text\)"):
        make(node(lambda row: row["n"]), text="a", n=1)


@pytest.mark.parametrize(
    ("dtype", "value", "stored"),
    [
        ("json", {"a": ["0E8", 1]}, '{"a":["0E8",1]}'),
        ("json", "0E8", '"0E8"'),
        ("json", None, None),
        ("datetime", datetime(2024, 1, 1), datetime(2024, 1, 1)),
        ("list<struct<a: int64>>", [{"a": 1}], [{"a": 1}]),
    ],
)
def test_values_are_of_the_declared_type(dtype: str, value: Any, stored: Any) -> None:
    assert make(node(lambda row: value, dtype=dtype), text="") == {"made": stored}


@pytest.mark.parametrize(
    ("function", "side", "message"),
    [
        (lambda row: 1 / 0, [], "ZeroDivisionError: division by zero"),
        (lambda row: {"made": "x", "other": 1}, [], "with 'other', which is no column that it makes"),
        (lambda row: {"made": "x"}, ["size"], "without 'size'"),
        (lambda row: "x", ["size"], "must return a dict with made, size"),
    ],
)
def test_a_function_that_fails_loses_its_row(function: Any, side: list[str], message: str) -> None:
    with pytest.raises(CellError) as caught:
        make(node(function, side_effect_columns=side), text="a")
    assert message in caught.value.message
    assert caught.value.reason == "custom"


def test_the_cause_of_a_failed_cell_is_kept_and_a_cell_error_passes() -> None:
    with pytest.raises(CellError) as caught:
        make(node(lambda row: 1 / 0), text="a")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)

    async def refuse(row: dict[str, Any]) -> str:
        raise CellError("not this one", reason="mine")

    with pytest.raises(CellError) as caught:
        make(node(refuse), text="a")
    assert caught.value.reason == "mine"


def test_parameters_are_given_typed_where_the_function_says_so() -> None:
    def repeat(row: dict[str, Any], generator_params: Params) -> str:
        return str(row["text"]) * generator_params.times

    def plain(row: dict[str, Any], generator_params: dict[str, int]) -> str:
        return str(row["text"]) * generator_params["times"]

    for function, params in [(repeat, {"times": 3}), (repeat, Params(times=3)), (plain, {"times": 3})]:
        config = column(function, generator_params=params)
        assert make(config.build(context(TYPES)), text="ab") == {"made": "ababab"}
        assert config.model_dump(mode="json")["generator_params"] == {"times": 3}
    assert "do not fit Params" in problems(column(repeat, generator_params={"times": "x"}))["generator_function"]


# --- models


@custom_column_generator(model_aliases=["writer"])
async def ask(row: dict[str, Any], generator_params: None, models: dict[str, Any]) -> str:
    text, messages = await models["writer"].generate(prompt=f"Say {row['text']}", system_prompt="Be brief.")
    return f"{text} after {len(messages)}"


@custom_column_generator(model_aliases=["writer"])
def ask_blocking(row: dict[str, Any], generator_params: None, models: dict[str, Any]) -> str:
    text, messages = models["writer"].generate(prompt=f"Say {row['text']}", system_prompt="Be brief.")
    return f"{text} after {len(messages)}"


@pytest.mark.parametrize("function", [ask, ask_blocking])
def test_models_are_asked_by_alias_with_their_parameters(function: Any) -> None:
    models = FakeModels(["yes"])
    built = column(function).build(context(TYPES, model={"temperature": 0.5}))
    assert make(built, models, text="yes") == {"made": "yes after 3"}
    assert models.aliases == ["writer"]
    assert models.requests[0] == ChatRequest(
        "m-1",
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say yes"}],
        {"temperature": 0.5},
    )


@pytest.mark.parametrize("function", [ask, ask_blocking])
def test_an_error_of_the_endpoint_reaches_the_engine(function: Any) -> None:
    error = ModelError("slow down", kind=ErrorKind.THROTTLED, reason="429")
    with pytest.raises(ModelError) as caught:
        make(node(function), FakeModels([error]), text="a")
    assert caught.value is error


def test_a_parser_leads_to_correction_rounds() -> None:
    @custom_column_generator(model_aliases=["writer"])
    async def number(row: dict[str, Any], models: dict[str, Any]) -> int:
        output: int = (await models["writer"].generate("How many?", parser=int, max_correction_steps=1)).output
        return output

    models = FakeModels(["four", "4"])
    assert make(node(number, dtype="int"), models, text="") == {"made": 4}
    assert "invalid literal" in models.prompt()
    with pytest.raises(CellError) as caught:
        make(node(number, dtype="int"), FakeModels(["four", "4.0"]), text="")
    assert (caught.value.reason, caught.value.answer) == ("invalid answer", "4.0")


def test_a_plain_call_gives_the_whole_answer() -> None:
    @custom_column_generator(model_aliases=["writer"])
    def reasons(row: dict[str, Any], models: dict[str, Any]) -> str | None:
        answer: ChatAnswer = models["writer"].chat([{"role": "user", "content": "Why?"}])
        return answer.reasoning

    made = make(node(reasons), FakeModels([ChatAnswer("so", reasoning="because")]), text="")
    assert made == {"made": "because"}


def test_when_a_cell_is_cancelled_the_call_of_its_thread_is_too() -> None:
    cancelled = threading.Event()

    class Hanging(FakeModels):
        async def chat(self, alias: str, request: ChatRequest, *, tools: str | None = None) -> ChatAnswer:
            self.requests.append(request)
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            raise AssertionError

    asked = asyncio.Event()
    models = Hanging()

    async def run() -> None:
        built = node(ask_blocking)
        task = asyncio.create_task(built.generator.generate(cell(built, models, text="a")))  # type: ignore[union-attr]
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(cancelled.wait, 5)

    asyncio.run(run())
    assert (cancelled.is_set(), len(models.requests)) == (True, 1)


# --- full column


@pytest.mark.parametrize(
    "function",
    [
        lambda df: df["text"].str.upper(),
        lambda df: df.assign(made=df["text"].str.upper()),
        lambda df: [text.upper() for text in df["text"]],
        lambda df: np.array([text.upper() for text in df["text"]], dtype=object),
        lambda df: pa.array([text.upper() for text in df["text"]]),
        lambda df: df.sort_values("text").assign(made=lambda sorted_: sorted_["text"].str.upper()),
        lambda df: df["text"].sort_values().str.upper(),
        lambda df: df["text"].str.upper().set_axis(["x", "y", "z"]),
    ],
)
def test_a_row_group_at_once_keeps_rows_and_order(function: Callable[[pd.DataFrame], Any]) -> None:
    made = full(function)
    assert made.arrays["made"].to_pylist() == ["B", "A", "C"]
    assert (made.rejected, made.parents) == ({}, None)


def test_nothing_is_retyped_on_the_way_through_pandas() -> None:
    columns = {
        "text": ["0E8", None, "00M"],
        "n": pa.array([2**53 + 1, None, 3]),
    }
    made = full(
        lambda df: df.assign(made=df["text"], number=df["n"]),
        columns=columns,
        input_columns=["text", "n"],
        side_effect_columns={"number": "int"},
    )
    assert made.arrays["made"].to_pylist() == ["0E8", None, "00M"]
    assert made.arrays["number"].to_pylist() == [2**53 + 1, None, 3]


def test_missing_values_of_pandas_are_missing() -> None:
    values = pd.Series([pd.NaT, float("nan"), pd.NA], dtype=object)
    assert full(lambda df: values, dtype="float").arrays["made"].to_pylist() == [None, None, None]


def test_times_come_through_every_kind_of_array() -> None:
    moments = [datetime(2024, 1, 1), datetime(2024, 1, 2), None]
    for kind in (pd.Series, lambda values: np.array(values, dtype="datetime64[ns]"), pa.array, list):
        made = full(lambda df, kind=kind: kind(moments), dtype="datetime")
        assert made.arrays["made"].to_pylist() == moments
        assert made.rejected == {}


def test_values_that_do_not_fit_reject_their_rows_only() -> None:
    made = full(lambda df: [1, "2", 3.5], dtype="int")
    assert made.arrays["made"].to_pylist() == [1, None, None]
    assert {position: error.reason for position, error in made.rejected.items()} == {1: "type", 2: "type"}
    made = full(lambda df: [{"a": 1}, object(), "x"], dtype="json")
    assert (made.arrays["made"].to_pylist(), list(made.rejected)) == (['{"a":1}', None, '"x"'], [1])


def test_a_function_that_raises_ends_the_run() -> None:
    with pytest.raises(ZeroDivisionError):
        full(lambda df: 1 / 0)


def test_a_resize_says_where_each_row_comes_from() -> None:
    made = full(lambda df: Resized(["x", "y"], parents=[2, 2]), allow_resize=True)
    assert (made.arrays["made"].to_pylist(), made.parents) == (["x", "y"], [2, 2])
    made = full(lambda df: df["text"], allow_resize=True)
    assert (made.arrays["made"].to_pylist(), made.parents) == (["b", "a", "c"], None)


@pytest.mark.parametrize(
    ("function", "fields", "message"),
    [
        (lambda df: df["text"].head(2), {"allow_resize": True}, "returned 2 rows for 3; return Resized"),
        (lambda df: Resized(["x"], [0]), {}, "does not declare allow_resize"),
        (lambda df: Resized(["x"], [3]), {"allow_resize": True}, "from 0 to 2"),
        (lambda df: Resized(["x"], []), {"allow_resize": True}, "1 values with 0 parents"),
        (lambda df: Resized([5], [0]), {"allow_resize": True}, "does not fit, in row 0: 5 is not text"),
        (lambda df: df[["text"]], {}, "there is no column 'made' in it; it has text"),
        (lambda df: df["text"], {"side_effect_columns": ["x"]}, "a DataFrame or dict with made, x is wanted"),
        (lambda df: None, {}, "a NoneType is no column of values"),
        (
            lambda df: {"made": ["a", "b", "c"], "x": ["a"]},
            {"side_effect_columns": ["x"]},
            "columns of different lengths: {'made': 3, 'x': 1}",
        ),
    ],
)
def test_a_result_that_cannot_be_used_ends_the_run(function: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ProcessorError) as caught:
        full(function, **fields)
    assert message in caught.value.message
    assert "'made'" in caught.value.message
    assert caught.value.context() == {"stage": "generate", "column": "made", "row_group": 0}


def test_another_length_without_allow_resize_is_the_engines_to_refuse() -> None:
    assert len(full(lambda df: df["text"].head(2)).arrays["made"]) == 2


# --- mistakes


async def async_full(df: pd.DataFrame) -> Any:
    return df


@pytest.mark.parametrize(
    ("function", "fields", "field", "message"),
    [
        ("nowhere.py:f", {}, "generator_function", "no file"),
        ("os.path:nothing", {}, "generator_function", "has no function"),
        (lambda: 1, {}, "generator_function", "takes no parameter"),
        (lambda row, other: 1, {}, "generator_function", "parameter 'other'"),
        (async_full, {"generation_strategy": "full_column"}, "generator_function", "is async"),
        (lambda df, models: 1, {"generation_strategy": "full_column"}, "generator_function", "takes models"),
        (upper, {"allow_resize": True}, "allow_resize", "needs generation_strategy full_column"),
        (upper, {"dtype": "int", "skip": {"when": "{{ n }}", "value": "x"}}, "skip.value", "not an integer"),
    ],
)
def test_mistakes_are_found_before_any_row(function: Any, fields: dict[str, Any], field: str, message: str) -> None:
    config = column(function, **fields)
    assert message in problems(config)[field]
    assert "made" in config.produces()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"generator_function": "no_colon"}, "must name a function"),
        ({"dtype": "texty"}, "'texty' is no type"),
        ({"side_effect_columns": {"x": "texty"}}, "'texty' is no type"),
        ({"generator_params": [1]}, "must be a mapping"),
        ({"generation_strategy": "by_magic"}, "generation_strategy"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        column(**{"function": upper, **fields}) if "generator_function" not in fields else column(
            fields["generator_function"]
        )
