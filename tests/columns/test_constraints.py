"""Constraints: the true joint distribution, drawn row by row, hopeless ones refused before work is done."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from data_designer.config import sampler_constraints as referee
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from prefect_datagen.columns.base import Reference
from prefect_datagen.columns.constraints import AnyConstraint
from prefect_datagen.columns.inequalities import ColumnInequalityConstraint, ScalarInequalityConstraint
from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.sampling import SeedStageSampler
from prefect_datagen.engine.errors import ConfigError

ROWS = 50_000
LIKELY = 1e-3
ANY: TypeAdapter[ScalarInequalityConstraint | ColumnInequalityConstraint] = TypeAdapter(AnyConstraint)


def column(name: str, sampler_type: str, params: dict[str, Any], **more: Any) -> SamplerColumnConfig:
    data = {"name": name, "sampler_type": sampler_type, "params": params, **more}
    return SamplerColumnConfig.model_validate(data)


def limit(target: str, operator: str, rhs: Any) -> ScalarInequalityConstraint | ColumnInequalityConstraint:
    return ANY.validate_python({"target_column": target, "operator": operator, "rhs": rhs})


def unit(name: str) -> SamplerColumnConfig:
    return column(name, "uniform", {"low": 0, "high": 1})


def floats(array: pa.Array) -> NDArray[np.float64]:
    return np.asarray(array.to_numpy(), dtype=np.float64)


def test_constraints_of_the_referee_load() -> None:
    scalar = referee.ScalarInequalityConstraint(target_column="a", operator="lt", rhs=5)
    columns = referee.ColumnInequalityConstraint(target_column="a", operator="ge", rhs="b")
    assert ANY.validate_python(scalar.model_dump(mode="json")) == limit("a", "lt", 5)
    assert ANY.validate_python(columns.model_dump(mode="json")) == limit("a", "ge", "b")


@pytest.mark.parametrize(
    ("rhs", "kind"),
    [
        (5, ScalarInequalityConstraint),
        ("5", ScalarInequalityConstraint),
        ("2024-01-31", ScalarInequalityConstraint),
        (date(2024, 1, 31), ScalarInequalityConstraint),
        ("2024-01-31T12:00:00", ScalarInequalityConstraint),
        ("b", ColumnInequalityConstraint),
        ("may2024", ColumnInequalityConstraint),
    ],
)
def test_the_right_hand_side_tells_which_constraint_is_meant(rhs: Any, kind: type) -> None:
    assert type(limit("a", "lt", rhs)) is kind


def test_constraints_that_are_none_do_not_load() -> None:
    for rhs in (None, float("nan"), [1]):
        with pytest.raises(ValidationError):
            limit("a", "lt", rhs)
    with pytest.raises(ValidationError, match="'lt', 'le', 'gt' or 'ge'"):
        limit("a", "eq", 1)


def test_references_and_text() -> None:
    assert list(limit("a", "lt", 5).references()) == [Reference("a", "target_column")]
    assert list(limit("a", "ge", "b").references()) == [Reference("a", "target_column"), Reference("b", "rhs")]
    assert str(limit("a", "lt", 5)) == "a < 5.0"
    assert str(limit("a", "ge", "b")) == "a >= b"


@pytest.mark.parametrize(("operator", "expected"), [("lt", {1}), ("le", {1, 2}), ("gt", {3}), ("ge", {2, 3})])
def test_operators(operator: str, expected: set[int]) -> None:
    columns = [column("a", "category", {"values": [1, 2, 3]}), column("two", "category", {"values": [2]})]
    for rhs in (2, "two"):
        drawn = SeedStageSampler(columns, [limit("a", operator, rhs)], seed=1).sample(0, 300, {})
        assert set(drawn.arrays["a"].to_pylist()) == expected


def test_two_uniforms_in_order_are_uniform_on_the_triangle() -> None:
    """Drawn one after the other, x would stay uniform; jointly it has density 2(1 - x), and y has 2y."""
    sampler = SeedStageSampler([unit("x"), unit("y")], [limit("x", "lt", "y")], seed=1)
    arrays = sampler.sample(0, ROWS, {}).arrays
    x, y = floats(arrays["x"]), floats(arrays["y"])
    assert (x < y).all()
    assert stats.kstest(x, stats.beta(1, 2).cdf).pvalue > LIKELY
    assert stats.kstest(y, stats.beta(2, 1).cdf).pvalue > LIKELY
    assert stats.kstest(x / y, stats.uniform().cdf).pvalue > LIKELY
    assert stats.kstest(x, stats.uniform().cdf).pvalue < 1e-9


def test_a_truncated_gaussian_is_one() -> None:
    columns = [column("x", "gaussian", {"mean": 0, "stddev": 1})]
    drawn = SeedStageSampler(columns, [limit("x", "gt", 1.0), limit("x", "le", 2.0)], seed=1).sample(0, ROWS, {})
    assert stats.kstest(floats(drawn.arrays["x"]), stats.truncnorm(1, 2).cdf).pvalue > LIKELY


def test_three_dice_under_two_constraints_come_as_often_as_counting_says() -> None:
    faces = list(range(1, 7))
    columns = [column(name, "category", {"values": faces, "weights": faces}) for name in "abc"]
    constraints = [limit("a", "lt", "b"), limit("b", "le", "c"), limit("a", "ge", 2)]
    arrays = SeedStageSampler(columns, constraints, seed=1).sample(0, ROWS, {}).arrays
    counts = Counter(zip(*(arrays[name].to_pylist() for name in "abc"), strict=True))
    weights = {(a, b, c): a * b * c for a, b, c in itertools.product(faces, repeat=3) if a < b <= c and a >= 2}
    assert set(counts) == set(weights)
    expected = [ROWS * weights[roll] / sum(weights.values()) for roll in weights]
    assert stats.chisquare([counts[roll] for roll in weights], expected).pvalue > LIKELY


def test_what_a_constrained_column_reads_is_drawn_with_it() -> None:
    """P(tier | x > 8) by Bayes: gold rows are far likelier to pass than plain ones, so they are over-represented."""
    columns = [
        column("tier", "category", {"values": ["plain", "gold"], "weights": [3, 1]}),
        column("x", "uniform", {"low": 0, "high": 10}, conditional_params={"tier == 'gold'": {"low": 5, "high": 15}}),
        column("reads_x", "category", {"values": ["small"]}, conditional_params={"x > 9": {"values": ["large"]}}),
    ]
    sampler = SeedStageSampler(columns, [limit("x", "gt", 8)], seed=1)
    arrays = sampler.sample(0, ROWS, {}).arrays
    gold = sum(tier == "gold" for tier in arrays["tier"].to_pylist())
    passes = {"plain": 0.75 * 0.2, "gold": 0.25 * 0.7}
    assert stats.binomtest(gold, ROWS, passes["gold"] / sum(passes.values())).pvalue > LIKELY
    assert sampler.statistics()[0].columns == ("tier", "x")
    for x, size in zip(arrays["x"].to_pylist(), arrays["reads_x"].to_pylist(), strict=True):
        assert size == ("large" if x > 9 else "small")


def test_columns_outside_of_a_group_are_as_without_constraints() -> None:
    columns = [unit("x"), unit("y"), unit("other"), column("id", "uuid", {})]
    free = SeedStageSampler(columns, seed=1).sample(0, 500, {}).arrays
    bound = SeedStageSampler(columns, [limit("x", "lt", "y")], seed=1).sample(0, 500, {}).arrays
    assert (bound["other"], bound["id"]) == (free["other"], free["id"])
    fitting = pa.array(floats(free["x"]) < floats(free["y"]))
    for name in ("x", "y"):  # rows that fit at once keep their values
        assert bound[name].filter(fitting) == free[name].filter(fitting)


def test_rows_are_the_same_in_any_blocks_however_often_they_were_drawn() -> None:
    columns = [
        unit("x"),
        column("y", "gaussian", {"mean": 0, "stddev": 1}, conditional_params={"x > 0.5": {"mean": 1, "stddev": 2}}),
        column("t", "category", {"values": ["a", "b"]}, skip={"when": "{{ y > 2.5 }}"}),
    ]
    constraints = [limit("y", "gt", 2), limit("x", "lt", 0.9)]
    sampler = SeedStageSampler(columns, constraints, seed=4)
    whole = sampler.sample(0, 2_000, {})
    assert sampler.statistics()[0].drawn > 5 * 2_000
    for size in (1_000, 77):
        parts = [sampler.sample(start, min(size, 2_000 - start), {}) for start in range(0, 2_000, size)]
        for name in whole.arrays:
            assert pa.concat_arrays([part.arrays[name] for part in parts]) == whole.arrays[name]
        assert (np.concatenate([part.skipped["t"] for part in parts]) == whole.skipped["t"]).all()
    for start in (0, 5, 1_999):
        alone = sampler.sample(start, 1, {}).arrays
        assert alone == {name: array[start : start + 1] for name, array in whole.arrays.items()}
    assert {name: (len(array), array.type) for name, array in sampler.sample(9, 0, {}).arrays.items()} == {
        "x": (0, pa.float64()),
        "y": (0, pa.float64()),
        "t": (0, pa.string()),
    }


def test_constraints_that_share_no_column_are_satisfied_on_their_own() -> None:
    columns = [unit(name) for name in "abcd"]
    constraints = [limit("a", "lt", 0.02), limit("b", "gt", "c"), limit("d", "lt", 0.02)]
    sampler = SeedStageSampler(columns, constraints, seed=1)
    sampler.sample(0, 2_000, {})
    found = {one.constraints: one for one in sampler.statistics()}
    assert set(found) == {("a < 0.02",), ("b > c",), ("d < 0.02",)}
    assert found["b > c",].columns == ("b", "c")
    for one, share in zip(sampler.statistics(), (0.02, 0.5, 0.02), strict=True):
        assert one.accepted == 2_000
        assert one.acceptance == pytest.approx(share, rel=0.15)


def test_constraints_that_meet_in_what_they_read_are_one_group() -> None:
    condition = {"tier == 'gold'": {"low": 1, "high": 2}}
    columns = [
        column("a", "uniform", {"low": 0, "high": 1}, conditional_params=condition),
        column("b", "uniform", {"low": 0, "high": 1}, conditional_params=condition),
        column("tier", "category", {"values": ["plain", "gold"]}),
    ]
    sampler = SeedStageSampler(columns, [limit("a", "gt", 0.5), limit("b", "lt", 1.5)], seed=1)
    assert [one.columns for one in sampler.statistics()] == [("tier", "a", "b")]
    assert sampler.statistics()[0].acceptance is None
    tiers = Counter(sampler.sample(0, ROWS, {}).arrays["tier"].to_pylist())
    # plain: a > 0.5 with 1/2, b < 1.5 always; gold: a always, b with 1/2
    assert stats.chisquare(list(tiers.values())).pvalue > LIKELY


@pytest.mark.parametrize(
    ("constraints", "worst"),
    [
        ([("x", "gt", 2.0)], "'x > 2.0' alone rejects 100.00%"),
        ([("x", "lt", "y"), ("y", "lt", "x")], "alone rejects 50"),
        ([("x", "gt", 0.5), ("y", "gt", 0.99999)], "'y > 0.99999' alone rejects"),
    ],
)
def test_hopeless_constraints_are_refused_before_the_first_row(constraints: list[Any], worst: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SeedStageSampler([unit("x"), unit("y")], [limit(*one) for one in constraints], seed=1)
    message = caught.value.message
    assert "constraints are hopeless" in message
    assert "of 204,800 drawn rows satisfy" in message
    assert worst in message


def test_rare_but_possible_constraints_are_not_refused() -> None:
    sampler = SeedStageSampler([unit("x")], [limit("x", "lt", 0.001)], seed=1)
    assert floats(sampler.sample(0, 50, {}).arrays["x"]).max() < 0.001
    assert sampler.statistics()[0].acceptance == pytest.approx(0.001, rel=0.5)


def test_a_row_that_never_fits_ends_in_an_error_that_names_it() -> None:
    sampler = SeedStageSampler([unit("x")], [limit("x", "gt", "floor")], seed=1, max_attempts=500)
    assert sampler.reads == {"floor"}
    drawn = sampler.sample(0, 3, {"floor": pa.array([0.1, 0.5, 0.9])}).arrays["x"]
    assert (floats(drawn) > [0.1, 0.5, 0.9]).all()
    with pytest.raises(ConfigError, match=r"row 101 satisfies 'x > floor' in none of 500 draws") as caught:
        sampler.sample(100, 3, {"floor": pa.array([0.1, 1.5, 0.2])})
    assert caught.value.context()["row"] == 101


def test_times_compare_with_times_and_with_iso_text() -> None:
    period = {"start": "2024-01-01", "end": "2024-01-11"}
    columns = [column(name, "datetime", period, convert_to="%d.%m.%Y") for name in ("start", "end")]
    constraints = [limit("start", "lt", "end"), limit("end", "le", "2024-01-05")]
    arrays = SeedStageSampler(columns, constraints, seed=1).sample(0, 2_000, {}).arrays
    pairs = Counter(zip(*(array.to_pylist() for array in arrays.values()), strict=True))
    days = [f"0{day}.01.2024" for day in range(1, 6)]
    assert set(pairs) == set(itertools.combinations(days, 2))
    assert stats.chisquare(list(pairs.values())).pvalue > LIKELY


def test_numbers_are_compared_as_they_were_rounded_and_converted() -> None:
    columns = [
        column("x", "uniform", {"low": 0, "high": 5, "decimal_places": 0}),
        column("n", "uniform", {"low": 0, "high": 5}, convert_to="int"),
        column("s", "uniform", {"low": 0, "high": 5, "decimal_places": 0}, convert_to="str"),
    ]
    constraints = [limit(name, "lt", 3) for name in ("x", "n", "s")]
    arrays = SeedStageSampler(columns, constraints, seed=1).sample(0, 500, {}).arrays
    assert set(arrays["x"].to_pylist()) == {0.0, 1.0, 2.0}
    assert set(arrays["n"].to_pylist()) == {0, 1, 2}
    assert set(arrays["s"].to_pylist()) == {"0.0", "1.0", "2.0"}


def test_a_skipped_cell_breaks_no_constraint() -> None:
    columns = [unit("x"), column("y", "uniform", {"low": 0, "high": 1}, skip={"when": "{{ off }}"})]
    sampler = SeedStageSampler(columns, [limit("y", "gt", 0.9)], seed=1)
    sampled = sampler.sample(0, 100, {"off": pa.array([True, False] * 50)})
    assert sampled.skipped["y"].tolist() == [True, False] * 50
    assert floats(sampled.arrays["y"].drop_null()).min() > 0.9


@pytest.mark.parametrize(
    ("constraint", "path", "message"),
    [
        (("seed", "lt", 1), "constraints[0].target_column", "'seed' is no sampler column"),
        (("c", "lt", 1), "constraints[0]", "constraint c < 1.0: cannot compare a text with a number"),
        (("c", "lt", "x"), "constraints[0]", "cannot compare a text with a number"),
        (("x", "lt", "2024-01-01"), "constraints[0]", "cannot compare a number with a text"),
        (("t", "lt", 5), "constraints[0]", "cannot compare a time with a number"),
    ],
)
def test_a_constraint_that_compares_unlike_things_is_refused(constraint: Any, path: str, message: str) -> None:
    columns = [
        unit("x"),
        column("c", "category", {"values": ["a"]}),
        column("t", "datetime", {"start": "2024-01-01", "end": "2024-01-02"}),
    ]
    with pytest.raises(ConfigError) as caught:
        SeedStageSampler(columns, [limit(*constraint)], seed=1)
    assert caught.value.problems[0].startswith(f"{path}: ")
    assert message in caught.value.problems[0]


def test_a_time_on_the_right_that_is_none_is_refused() -> None:
    columns = [column("t", "datetime", {"start": "2024-01-01", "end": "2024-01-02"})]
    constraint = ScalarInequalityConstraint(target_column="t", operator="lt", rhs="noon")
    with pytest.raises(ConfigError, match="'noon' is no date or time"):
        SeedStageSampler(columns, [constraint], seed=1)


def test_given_times_bound_sampled_ones() -> None:
    columns = [column("t", "datetime", {"start": "2024-01-01", "end": "2024-01-11"})]
    sampler = SeedStageSampler(columns, [limit("t", "ge", "since")], seed=1)
    since = pa.array([datetime(2024, 1, day) for day in (1, 9, 10)], pa.timestamp("ms"))
    drawn = sampler.sample(0, 3, {"since": since}).arrays["t"].to_pylist()
    assert all(time >= bound for time, bound in zip(drawn, since.to_pylist(), strict=True))


def test_the_acceptance_is_told_from_the_probe_and_then_from_the_draws() -> None:
    """Of two independent uniforms half are in order."""
    sampler = SeedStageSampler([unit("a"), unit("b")], [limit("a", "lt", "b")], seed=1)
    [before] = sampler.acceptance()
    assert re.fullmatch(r"constraints a < b: 0\.\d+ of the drawn rows are accepted", before)
    sampler.sample(0, 100_000, {})
    [statistics] = sampler.statistics()
    assert statistics.acceptance == pytest.approx(0.5, abs=0.01)
    assert sampler.acceptance() == [str(statistics)] != [before]
