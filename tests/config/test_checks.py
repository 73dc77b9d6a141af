"""Quality gates, kind by kind: which rows fail, and when the verdict may be spoken."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from prefect_datagen.config.checks import Check, tally
from prefect_datagen.config.dataset import AnyCheck
from prefect_datagen.engine.outcomes import CheckTally

TABLE = pa.table(
    {
        "text": ["one", "", None, "a longer text"],
        "stars": pa.array([1, 5, None, 9], pa.int64()),
        "rating": pa.array([{"stars": 2}, {"stars": 4}, None, {"stars": 6}], pa.struct([("stars", pa.int64())])),
        "code": pa.array([{"is_valid": True}, {"is_valid": False}, None, {"is_valid": True}]),
    }
)


def gate(kind: str, **fields: Any) -> Check:
    """A check of this kind."""
    check: Check = TypeAdapter[Any](AnyCheck).validate_python({"name": kind, "check_type": kind, **fields})
    return check


@pytest.mark.parametrize(
    ("check", "failing"),
    [
        (gate("null_share", column="text"), [False, True, True, False]),
        (gate("null_share", column="rating.stars"), [False, False, True, False]),
        (gate("range", column="stars", min=1, max=5), [False, False, False, True]),
        (gate("range", column="rating.stars", min=3), [True, False, False, False]),
        (gate("length", column="text", max=5), [False, False, False, True]),
        (gate("length", column="text", min=1), [False, True, False, False]),
        (gate("valid_share", column="code"), [False, True, True, False]),
        (gate("unique", column="stars"), [False, False, False, False]),
        (gate("sql", expr="stars < 9"), [False, False, True, True]),
    ],
    ids=lambda value: value.name if isinstance(value, Check) else None,
)
def test_rows_that_fail(check: Check, failing: list[bool]) -> None:
    rejecting = check.model_copy(update={"on_fail": type(check.on_fail)("reject_row")})
    tallies, rows = tally([rejecting], TABLE)
    assert rows == {check.name: failing}
    assert tallies[check.name].rows == 4
    assert tallies[check.name].failing == sum(failing)


def test_a_mean_is_that_of_the_values_there_are() -> None:
    check = gate("mean_score", column="rating.stars", min=4.5, minimum_sample=3)
    tallies, _ = tally([check], TABLE)
    assert (tallies["mean_score"].total, tallies["mean_score"].valued) == (12.0, 3)
    verdict = check.judge(tallies["mean_score"], final=False)
    assert not verdict.passed
    assert verdict.observed == 4.0
    assert verdict.message == "the mean of rating.stars over 3 rows is 4.0"


def test_before_its_minimum_sample_a_gate_says_nothing_and_at_the_end_it_does() -> None:
    check = gate("range", column="stars", max=5, max_share=0.1, minimum_sample=100)
    bad = CheckTally(rows=99, failing=99)
    assert check.judge(bad, final=False).passed
    assert not check.judge(bad + CheckTally(rows=1, failing=1), final=False).passed
    assert not check.judge(bad, final=True).passed


def test_while_rows_land_a_share_that_may_be_chance_is_no_reason() -> None:
    """12 of 100 may be one in ten; at the end, 12 are more than 10."""
    check = gate("range", column="stars", max=5, max_share=0.1, minimum_sample=100)
    some = CheckTally(rows=100, failing=12)
    assert check.judge(some, final=False).passed
    assert not check.judge(some, final=True).passed
