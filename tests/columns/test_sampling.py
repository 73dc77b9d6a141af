"""Drawing sampler columns together: the same values in any blocks, dependencies, conditions, conversions and skips."""

from __future__ import annotations

import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.columns import sampling
from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.samplers.base import words_of
from prefect_datagen.columns.sampling import SeedStageSampler, check_together
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.randomness import RowStream

ROWS = 200
PARENT = {"name": "parent", "sampler_type": "category", "params": {"values": ["x", "y", "z"]}}
START = {"name": "t", "sampler_type": "datetime", "params": {"start": "2024-01-01", "end": "2025-01-01", "unit": "s"}}

# Each sampler, and how a condition may change it.
SAMPLERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "bernoulli": ("bernoulli", {"p": 0.3}, {"p": 0.9}),
    "bernoulli_mixture": (
        "bernoulli_mixture",
        {"p": 0.4, "dist_name": "gamma", "dist_params": {"a": 2.0}},
        {"p": 0.4, "dist_name": "geom", "dist_params": {"p": 0.5}},
    ),
    "binomial": ("binomial", {"n": 20, "p": 0.25}, {"n": 7, "p": 0.5}),
    "category": ("category", {"values": ["a", "b"], "weights": [1, 3]}, {"values": [1, 2.5]}),
    "datetime": (
        "datetime",
        {"start": "2024-01-31", "end": "2026-01-01", "unit": "M"},
        {"start": "2000-01-01", "end": "2001-01-01"},
    ),
    "gaussian": ("gaussian", {"mean": 5, "stddev": 2, "decimal_places": 3}, {"mean": 50, "stddev": 2}),
    "person": ("person", {"locale": "en_US", "age_range": [10, 90]}, {"locale": "fr_FR", "sex": "Male"}),
    "person_from_faker": ("person_from_faker", {"locale": "ja_JP"}, {"city": "Kyoto"}),
    "poisson": ("poisson", {"mean": 4.5}, {"mean": 1e12}),
    "scipy": (
        "scipy",
        {"dist_name": "beta", "dist_params": {"a": 2, "b": 5}},
        {"dist_name": "norm", "dist_params": {}},
    ),
    "scipy by rows": (
        "scipy",
        {"dist_name": "levy_stable", "dist_params": {"alpha": 1.8, "beta": -0.5}},
        {"dist_name": "exponnorm", "dist_params": {"K": 1.5}},
    ),
    "subcategory": (
        "subcategory",
        {"category": "parent", "values": {"x": ["x1", "x2"], "y": ["y1"], "z": [1, 2, 3]}},
        {"category": "parent", "values": {"x": [7], "y": [8], "z": [9]}},
    ),
    "timedelta": (
        "timedelta",
        {"dt_min": 1, "dt_max": 100, "reference_column_name": "t", "unit": "h"},
        {"dt_min": 5, "dt_max": 6, "reference_column_name": "t"},
    ),
    "uniform": ("uniform", {"low": -1, "high": 1}, {"low": 5, "high": 9, "decimal_places": 1}),
    "uuid": ("uuid", {"prefix": "id-"}, {"short_form": True, "uppercase": True}),
}


def config(data: dict[str, Any]) -> SamplerColumnConfig:
    return SamplerColumnConfig.model_validate(data)


def column(name: str, sampler_type: str, params: dict[str, Any], **more: Any) -> SamplerColumnConfig:
    return config({"name": name, "sampler_type": sampler_type, "params": params, **more})


def with_parents(name: str) -> list[SamplerColumnConfig]:
    kind, params, other = SAMPLERS[name]
    return [
        column("plain", kind, params),
        column("by_condition", kind, params, conditional_params={"parent == 'y'": other}),
        config(PARENT),
        config(START),
    ]


def blocks(sampler: SeedStageSampler, sizes: list[int], start: int = 0) -> dict[str, pa.Array]:
    parts = []
    for size in sizes:
        parts.append(sampler.sample(start, size, {}).arrays)
        start += size
    return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("name", SAMPLERS)
def test_values_are_the_same_in_any_blocks_in_any_order(name: str) -> None:
    sampler = SeedStageSampler(with_parents(name), seed=17)
    whole = sampler.sample(0, ROWS, {}).arrays
    assert list(whole) == ["plain", "by_condition", "parent", "t"]
    for sizes in ([1, 99, 100], [7] * 28 + [4], [150, 50]):
        assert blocks(sampler, sizes) == whole
    again = SeedStageSampler(with_parents(name), seed=17)  # nothing of the above left a trace
    assert again.sample(120, 60, {}).arrays == {key: array[120:180] for key, array in whole.items()}
    assert again.sample(0, 1, {}).arrays == {key: array[:1] for key, array in whole.items()}
    assert whole["plain"] != SeedStageSampler(with_parents(name), seed=18).sample(0, ROWS, {}).arrays["plain"]


@pytest.mark.parametrize("name", SAMPLERS)
def test_many_rows_are_drawn_in_blocks_that_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = SeedStageSampler(with_parents(name), seed=17)
    whole = sampler.sample(3, ROWS, {}).arrays
    monkeypatch.setattr(sampling, "_AT_ONCE", 7)
    assert sampler.sample(3, ROWS, {}).arrays == whole


@pytest.mark.parametrize("name", SAMPLERS)
def test_types_are_as_promised_for_any_block(name: str) -> None:
    columns = with_parents(name)
    sampler = SeedStageSampler(columns, seed=1)
    for rows in (0, 1, 5, 64):
        arrays = sampler.sample(3, rows, {}).arrays
        assert {name: array.type for name, array in arrays.items()} == {one.name: one.types({})[0] for one in columns}
        assert all(len(array) == rows and array.null_count == 0 for array in arrays.values())
        for array in arrays.values():
            array.validate(full=True)


@pytest.mark.parametrize("name", ["person", "scipy by rows", "uuid", "category"])
def test_threads_do_not_disturb_each_other(name: str) -> None:
    sampler = SeedStageSampler(with_parents(name), seed=5)
    whole = sampler.sample(0, 400, {}).arrays
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: sampler.sample(start, 50, {}).arrays, range(0, 400, 50)))
    assert {name: pa.concat_arrays([part[name] for part in parts]) for name in whole} == whole


def test_a_sampler_pickles_and_draws_the_same() -> None:
    sampler = SeedStageSampler(with_parents("category"), seed=5)
    assert pickle.loads(pickle.dumps(sampler)).sample(10, 50, {}) == sampler.sample(10, 50, {})
    assert repr(sampler) == "SeedStageSampler(['plain', 'by_condition', 'parent', 't'], [], seed=5)"


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(min_value=0, max_value=5_000), max_size=40), st.integers(min_value=0, max_value=6))
def test_the_words_of_scattered_rows_are_those_of_the_rows(rows: set[int], width: int) -> None:
    stream = RowStream(3, "x", 2)
    index = np.array(sorted(rows), dtype=np.int64)
    expected = stream.words(0, 5_001, 8)[index, :width]
    assert (words_of(stream, index, width) == expected).all()


def test_columns_are_drawn_after_what_they_read_and_delivered_as_declared() -> None:
    columns = [
        column("last", "subcategory", {"category": "middle", "values": {"a": [1], "b": [2]}}),
        column("middle", "subcategory", {"category": "first", "values": {"p": ["a"], "q": ["b"]}}),
        column("first", "category", {"values": ["p", "q"]}),
    ]
    arrays = SeedStageSampler(columns, seed=1).sample(0, 200, {}).arrays
    assert list(arrays) == ["last", "middle", "first"]
    rows = set(zip(*(array.to_pylist() for array in arrays.values()), strict=True))
    assert rows == {(1, "a", "p"), (2, "b", "q")}


def test_columns_that_read_each_other_are_refused_by_name() -> None:
    params = {"category": "b", "values": {"1": [1]}}
    columns = [column("a", "subcategory", params), column("b", "subcategory", {**params, "category": "a"})]
    with pytest.raises(ConfigError, match=r"read each other in a circle: (a -> b -> a|b -> a -> b)"):
        SeedStageSampler(columns, seed=1)


@pytest.mark.parametrize(
    ("parents", "keys"),
    [
        ([1, 2, 30], ["1", "2", "30"]),
        ([1, 2.5], ["1", "2.5"]),
        ([1, 2.5], ["1.0", "2.5"]),
        (["1", "1.0", "null"], ["1", "1.0", "null"]),
        ([1, "a", 2.5], ["1", "a", "2.5"]),
        ([True, False], ["true", "False"]),
    ],
)
def test_a_subcategory_follows_parents_of_any_type(parents: list[Any], keys: list[str]) -> None:
    values = {key: [f"{position}a", f"{position}b"] for position, key in enumerate(keys)}
    columns = [
        column("parent", "category", {"values": parents}),
        column("x", "subcategory", {"category": "parent", "values": values}),
    ]
    arrays = SeedStageSampler(columns, seed=1).sample(0, 500, {}).arrays
    pairs = Counter(zip(arrays["parent"].to_pylist(), arrays["x"].to_pylist(), strict=True))
    as_held = arrays["parent"].type
    expected = {
        (str(parent) if pa.types.is_string(as_held) else parent, f"{position}{end}")
        for position, parent in enumerate(parents)
        for end in "ab"
    }
    assert set(pairs) == expected


def test_the_lists_are_looked_up_by_the_parents_values_as_they_are_compared() -> None:
    """A converted parent is a number; a list that mixes 1, 1.0 and text holds two different texts."""
    children = {"category": "parent", "values": {"7": ["seven"], "12": ["twelve"]}}
    converted = column("parent", "category", {"values": ["007", "12"]}, convert_to="int")
    arrays = SeedStageSampler([converted, column("x", "subcategory", children)], seed=1).sample(0, 50, {}).arrays
    assert set(zip(*(array.to_pylist() for array in arrays.values()), strict=True)) == {(7, "seven"), (12, "twelve")}
    mixed = column("parent", "category", {"values": [1, 1.0, "a"]})
    child = column("x", "subcategory", {"category": "parent", "values": {"1": [1], "a": [2]}})
    assert list(check_together([mixed, child], [])) == [
        ("columns.x.params.values", "has no list for '1.0' of column 'parent'")
    ]


def test_keys_that_yaml_reads_as_numbers_are_text() -> None:
    params = {"category": "parent", "values": {1: ["one"], 2.5: ["two"]}}
    assert column("x", "subcategory", params).params.values == {"1": ["one"], "2.5": ["two"]}  # type: ignore[union-attr]


def test_a_subcategory_without_a_list_for_a_parents_value_is_refused_before_drawing() -> None:
    columns = [
        column("parent", "category", {"values": ["a", "b"]}, conditional_params={"n > 0": {"values": ["c"]}}),
        column("n", "poisson", {"mean": 1}),
        column("x", "subcategory", {"category": "parent", "values": {"a": [1]}}),
    ]
    assert list(check_together(columns, [])) == [
        ("columns.x.params.values", "has no list for 'b', 'c' of column 'parent'")
    ]
    with pytest.raises(ConfigError, match=r"columns.x.params.values: has no list for 'b', 'c'"):
        SeedStageSampler(columns, seed=1)


def test_an_unforeseen_value_of_a_given_parent_is_named() -> None:
    sampler = SeedStageSampler([column("x", "subcategory", {"category": "s", "values": {"a": [1]}})], seed=1)
    assert sampler.reads == {"s"}
    assert sampler.sample(0, 3, {"s": pa.array(["a", None, "a"])}).arrays["x"].to_pylist() == [1, None, 1]
    assert sampler.sample(0, 2, {"s": pa.array(["a", None]).dictionary_encode()}).arrays["x"].to_pylist() == [1, None]
    with pytest.raises(ConfigError, match=r"column 'x': params.values has no list for 1 of column 's'"):
        sampler.sample(0, 1, {"s": pa.array([1])})
    with pytest.raises(
        ConfigError, match=r"params.category 's' holds values of kind time; text, numbers and truth values"
    ):
        sampler.sample(0, 1, {"s": pa.array([date(2024, 1, 1)])})
    with pytest.raises(ConfigError, match=r"column 'x': params.values has no list for 'B' of column 's'"):
        sampler.sample(0, 2, {"s": pa.array(["a", "B"])})
    with pytest.raises(ConfigError, match="reads column 's', which is neither a sampler nor seed data"):
        sampler.sample(0, 2, {})


@pytest.mark.parametrize(
    "reference",
    [
        pa.array([datetime(2024, 1, 1, 5)], pa.timestamp("us")),
        pa.array([datetime(2024, 1, 1, 5)], pa.timestamp("ns")),
        pa.array([datetime(2024, 1, 1, 5)], pa.timestamp("s", "UTC")),
        pa.array(["2024-01-01T05:00:00"]),
        pa.array(["2024-01-01 05:00:00"], pa.large_string()),
        pa.chunked_array([["2024-01-01T05:00"]]),
    ],
)
def test_a_timedelta_adds_to_given_times_of_any_type(reference: pa.Array) -> None:
    params = {"dt_min": 3, "dt_max": 4, "reference_column_name": "s", "unit": "h"}
    sampler = SeedStageSampler([column("x", "timedelta", params)], seed=1)
    drawn = sampler.sample(0, 1, {"s": reference}).arrays["x"]
    assert drawn == pa.array([datetime(2024, 1, 1, 8)], pa.timestamp("us"))


def test_a_timedelta_to_a_date_starts_at_midnight_and_none_stays_none() -> None:
    params = {"dt_min": 1, "dt_max": 2, "reference_column_name": "s"}
    sampler = SeedStageSampler([column("x", "timedelta", params)], seed=1)
    drawn = sampler.sample(0, 2, {"s": pa.array([date(2024, 2, 28), None])}).arrays["x"]
    assert drawn.to_pylist() == [datetime(2024, 2, 29), None]
    with pytest.raises(ConfigError, match="not a time"):
        sampler.sample(0, 1, {"s": pa.array(["soon"])})
    with pytest.raises(ConfigError, match="int64 is no time"):
        sampler.sample(0, 1, {"s": pa.array([1])})


def test_a_timedelta_to_a_column_without_times_is_refused_before_drawing() -> None:
    columns = [
        column("n", "poisson", {"mean": 1}),
        column("x", "timedelta", {"dt_min": 1, "dt_max": 2, "reference_column_name": "n"}),
    ]
    with pytest.raises(ConfigError, match=r"columns.x.params.reference_column_name: column 'n' holds int64, which is"):
        SeedStageSampler(columns, seed=1)


def test_the_first_condition_that_holds_decides() -> None:
    columns = [
        column("n", "category", {"values": [1, 2, 3, 4]}),
        column(
            "x",
            "category",
            {"values": ["else"]},
            conditional_params={
                "n >= 4": {"values": ["four"]},
                "n >= 3": {"values": ["three"]},
                "n > 3 or n == 1": {"values": ["one"]},
            },
        ),
    ]
    arrays = SeedStageSampler(columns, seed=1).sample(0, 400, {}).arrays
    pairs = set(zip(arrays["n"].to_pylist(), arrays["x"].to_pylist(), strict=True))
    assert pairs == {(1, "one"), (2, "else"), (3, "three"), (4, "four")}


def test_conditions_read_seed_data_other_samplers_and_records() -> None:
    columns = [
        column("who", "person", {"age_range": [10, 80]}),
        column(
            "x",
            "category",
            {"values": ["adult"]},
            conditional_params={"state == 'NY'": {"values": ["seed"]}, "who.age < 18": {"values": ["child"]}},
        ),
    ]
    sampler = SeedStageSampler(columns, seed=1)
    assert sampler.reads == {"state"}
    arrays = sampler.sample(0, 100, {"state": pa.array(["NY", "CA"] * 50), "unused": pa.array(range(100))}).arrays
    for position, (who, got) in enumerate(zip(arrays["who"].to_pylist(), arrays["x"].to_pylist(), strict=True)):
        assert got == ("seed" if position % 2 == 0 else "child" if who["age"] < 18 else "adult")


def test_a_condition_that_compares_unlike_things_is_refused_before_drawing() -> None:
    columns = [
        column("n", "poisson", {"mean": 1}),
        column("x", "uniform", {"low": 0, "high": 1}, conditional_params={"n == 'one'": {"low": 1, "high": 2}}),
    ]
    with pytest.raises(
        ConfigError, match=r"columns.x.conditional_params\[n == 'one'\]: .* compares a number with a text"
    ):
        SeedStageSampler(columns, seed=1)


def test_all_problems_are_reported_together() -> None:
    columns = [
        column("a", "uniform", {"low": 1, "high": 0}),
        column("b", "category", {"values": ["x"], "weights": [0]}, convert_to="date"),
    ]
    with pytest.raises(ConfigError) as caught:
        SeedStageSampler(columns, seed=1)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "columns.a.params.high",
        "columns.b.params.weights",
        "columns.b.convert_to",
    ]


@pytest.mark.parametrize(
    ("sampler_type", "params", "convert_to", "expected"),
    [
        ("category", {"values": [1.5, 2.5, -0.5]}, "int", {2, 0}),
        ("category", {"values": ["007", "12"]}, "int", {7, 12}),
        ("category", {"values": ["1.50", "2"]}, "float", {1.5, 2.0}),
        ("category", {"values": [1, 2]}, "float", {1.0, 2.0}),
        ("category", {"values": [1, 2]}, "str", {"1", "2"}),
        ("category", {"values": [1.0, 1e-5, 1e22]}, "str", {"1.0", "1e-05", "1e+22"}),
        (
            "category",
            {"values": ["0E8", "00M", "1.10", "null", "true", "NA"]},
            "str",
            {"0E8", "00M", "1.10", "null", "true", "NA"},
        ),
        (
            "category",
            {"values": ["0E8", "00M", "1.10", "null", "true", "NA"]},
            None,
            {"0E8", "00M", "1.10", "null", "true", "NA"},
        ),
        ("category", {"values": [1, "1.10", 2.0]}, None, {"1", "1.10", "2.0"}),
        ("category", {"values": [True, False]}, None, {True, False}),
        ("bernoulli", {"p": 0.5}, "str", {"0", "1"}),
        ("bernoulli", {"p": 0.5}, "float", {0.0, 1.0}),
        ("uniform", {"low": 0, "high": 2}, "int", {0, 1, 2}),
        ("uniform", {"low": 0, "high": 0.2, "decimal_places": 1}, "str", {"0.0", "0.1", "0.2"}),
    ],
)
def test_convert_to(sampler_type: str, params: dict[str, Any], convert_to: str | None, expected: set[Any]) -> None:
    columns = [column("x", sampler_type, params, convert_to=convert_to)]
    drawn = SeedStageSampler(columns, seed=1).sample(0, 300, {}).arrays["x"].to_pylist()
    assert set(drawn) == expected
    assert {type(value) for value in drawn} == {type(value) for value in expected}


@pytest.mark.parametrize(
    "pattern",
    [
        "%Y-%m-%d",
        "%d.%m.%y %H:%M:%S",
        "%A %B %j %I %p %a %b",
        "%-d/%-m",
        "%Y%%",
        "am %e um %T",
        "%S.%f",
        "%G-W%V",
        "Été %Y",
    ],
)
def test_times_are_formatted_as_python_does(pattern: str) -> None:
    start = {"start": "1999-01-01T00:00:00.125", "end": "2031-01-01", "unit": "s"}
    columns = [column("x", "datetime", start), column("y", "datetime", start, convert_to=pattern)]
    times = SeedStageSampler([columns[0]], seed=1).sample(0, 200, {}).arrays["x"].to_pylist()
    renamed = SeedStageSampler([columns[1].model_copy(update={"name": "x"})], seed=1)
    assert renamed.sample(0, 200, {}).arrays["x"].to_pylist() == [time.strftime(pattern) for time in times]


def test_timedeltas_and_conditions_read_times_whatever_their_format() -> None:
    columns = [
        column("t", "datetime", {"start": "2024-01-01", "end": "2024-01-03"}, convert_to="%d/%m/%y"),
        column("x", "timedelta", {"dt_min": 1, "dt_max": 2, "reference_column_name": "t"}, convert_to="%Y-%m-%d"),
        column("c", "category", {"values": ["first"]}, conditional_params={"t > '2024-01-01'": {"values": ["second"]}}),
    ]
    arrays = SeedStageSampler(columns, seed=1).sample(0, 50, {}).arrays
    rows = set(zip(*(array.to_pylist() for array in arrays.values()), strict=True))
    assert rows == {("01/01/24", "2024-01-02", "first"), ("02/01/24", "2024-01-03", "second")}


def test_conditions_read_numbers_that_became_text_as_text() -> None:
    columns = [
        column("zip", "category", {"values": [90210, 10001]}, convert_to="str"),
        column("x", "category", {"values": ["NY"]}, conditional_params={"zip == '90210'": {"values": ["CA"]}}),
    ]
    arrays = SeedStageSampler(columns, seed=1).sample(0, 50, {}).arrays
    assert set(zip(*(array.to_pylist() for array in arrays.values()), strict=True)) == {
        ("90210", "CA"),
        ("10001", "NY"),
    }


def test_a_number_that_no_integer_can_hold_is_an_error_that_names_the_column() -> None:
    wide = {"dist_name": "uniform", "dist_params": {"scale": 1e30}}
    sampler = SeedStageSampler([column("x", "scipy", wide, convert_to="int")], seed=1)
    with pytest.raises(ConfigError, match="column 'x': a drawn value is out of range"):
        sampler.sample(0, 10, {})


SKIP = {"when": "{{ n >= 2 }}", "value": None}


def skipping(**more: Any) -> list[SamplerColumnConfig]:
    return [
        column("n", "category", {"values": [0, 1, 2, 3]}),
        column("x", "poisson", {"mean": 3}, skip=SKIP, **more),
        column("child", "category", {"values": ["few"]}, conditional_params={"x > 3": {"values": ["many"]}}),
        column(
            "deaf",
            "category",
            {"values": ["few"]},
            conditional_params={"x > 3": {"values": ["many"]}},
            propagate_skip=False,
        ),
    ]


def test_a_skipped_cell_is_null_and_skips_what_reads_it() -> None:
    sampled = SeedStageSampler(skipping(), seed=1).sample(0, 200, {})
    numbers = sampled.arrays["n"].to_numpy()
    expected = numbers >= 2
    assert 0 < expected.sum() < 200
    assert set(sampled.skipped) == {"x", "child"}
    for name in ("x", "child"):
        assert (sampled.skipped[name] == expected).all()
        assert (sampled.arrays[name].is_null().to_numpy(zero_copy_only=False) == expected).all()
    assert sampled.arrays["deaf"].null_count == 0
    assert set(sampled.arrays["deaf"].filter(pa.array(expected)).to_pylist()) == {"few"}


def test_a_skip_changes_no_other_cell() -> None:
    columns = skipping()
    without = [one.model_copy(update={"skip": None}) for one in columns]
    some, every = (SeedStageSampler(each, seed=1).sample(0, 200, {}) for each in (columns, without))
    kept = pa.array(~some.skipped["x"])
    assert not every.skipped
    for name in some.arrays:
        assert some.arrays[name].filter(kept) == every.arrays[name].filter(kept)


def test_a_skipped_cell_holds_the_value_asked_for() -> None:
    columns = skipping()
    columns[1] = column("x", "poisson", {"mean": 3}, skip={"when": "{{ n == 0 }}", "value": -1})
    sampled = SeedStageSampler(columns, seed=1).sample(0, 200, {})
    assert (sampled.arrays["x"].to_numpy()[sampled.skipped["x"]] == -1).all()
    assert (sampled.arrays["x"].to_numpy() == -1).sum() == sampled.skipped["x"].sum() > 0


def test_a_skip_rule_that_cannot_be_told_names_column_and_row() -> None:
    columns = [column("x", "poisson", {"mean": 3}, skip={"when": "{{ s + 1 > 2 }}"})]
    sampler = SeedStageSampler(columns, seed=1)
    assert sampler.reads == {"s"}
    with pytest.raises(ConfigError, match=r"column 'x', row 11: skip.when: TypeError"):
        sampler.sample(10, 2, {"s": pa.array([1, None])})


def test_skips_are_the_same_in_any_blocks() -> None:
    sampler = SeedStageSampler(skipping(), seed=9)
    whole = sampler.sample(0, 100, {})
    parts = [sampler.sample(start, 25, {}) for start in range(0, 100, 25)]
    for name, mask in whole.skipped.items():
        assert (np.concatenate([part.skipped[name] for part in parts]) == mask).all()
        assert pa.concat_arrays([part.arrays[name] for part in parts]) == whole.arrays[name]


def test_a_timedelta_of_a_skipped_time_is_none_where_it_does_not_follow() -> None:
    columns = [
        column("t", "datetime", {"start": "2024-01-01", "end": "2024-01-02"}, skip={"when": "{{ s }}"}),
        column("x", "timedelta", {"dt_min": 1, "dt_max": 2, "reference_column_name": "t"}, propagate_skip=False),
    ]
    sampled = SeedStageSampler(columns, seed=1).sample(0, 2, {"s": pa.array([True, False])})
    assert sampled.arrays["x"].to_pylist() == [None, datetime(2024, 1, 1) + timedelta(days=1)]
    assert set(sampled.skipped) == {"t"}
