"""Comparisons agree with counting by hand; conditions hold where they should."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.diff import ColumnDiff, DatasetDiff, diff_datasets
from prefect_datagen.reports.diff_report import diff_report
from prefect_datagen.reports.diff_text import diff_markdown, diff_text
from prefect_datagen.reports.fail_on import Condition, violations
from prefect_datagen.reports.query_cache import QueryCache
from tests.reports.datasets import commit, finish, rejected


def dataset(path: Path, columns: dict[str, Any], *, rejects: int = 0) -> Path:
    """A finished dataset of one row group."""
    path.mkdir(parents=True)
    table = pa.table(columns)
    made = commit(path, 0, table, start_row=0, rejects=[rejected(n) for n in range(rejects)])
    finish(path, [made], size=table.num_rows)
    return path


@pytest.fixture
def compare(tmp_path):
    def compare(base: dict[str, Any], current: dict[str, Any], **options: Any) -> DatasetDiff:
        return diff_datasets(dataset(tmp_path / "base", base), dataset(tmp_path / "current", current), **options)

    return compare


def column(diff: DatasetDiff, name: str) -> ColumnDiff:
    return next(each for each in diff.columns if each.column == name)


KEYS = {"id": [1, 2, 3, 4], "word": ["a", "b", "c", None], "x": [1.0, 2.0, float("nan"), None]}


def test_equal_datasets_do_not_differ(compare):
    diff = compare(KEYS, KEYS, key=["id"])
    assert diff.schema_changes == []
    assert (diff.keyed.added, diff.keyed.removed, diff.keyed.changed) == (0, 0, 0)
    assert [each.distance for each in diff.columns] == [0, 0, 0]
    assert (
        violations(diff, [Condition.parse(name) for name in ("schema", "rows", "added", "missing", "distance")]) == []
    )


def test_changes_of_the_schema_are_named(compare):
    diff = compare({"a": [1], "b": ["x"], "c": [1]}, {"a": [1], "b": [1], "d": [1]})
    assert [(each.column, each.base, each.current) for each in diff.schema_changes] == [
        ("b", "string", "int64"),
        ("c", "int64", None),
        ("d", None, "int64"),
    ]
    assert [each.column for each in diff.columns] == ["a"]


def test_rows_are_found_by_their_key(compare):
    current = {"id": [2, 3, 4, 5, 6], "word": ["b", "C", None, "e", "f"], "x": [2.0, float("nan"), 0.5, 1.0, 1.0]}
    keyed = compare(KEYS, current, key=["id"]).keyed
    assert (keyed.added, keyed.removed, keyed.changed) == (2, 1, 2)
    assert keyed.changed_by_column == {"word": 1, "x": 1}
    assert keyed.sample == [
        {"change": "added", "id": 5, "differences": []},
        {"change": "added", "id": 6, "differences": []},
        {"change": "changed", "id": 3, "differences": [{"column": "word", "base": "c", "current": "C"}]},
        {"change": "changed", "id": 4, "differences": [{"column": "x", "base": None, "current": "0.5"}]},
        {"change": "removed", "id": 1, "differences": []},
    ]


@settings(max_examples=15, deadline=None)
@given(
    base=st.dictionaries(
        st.tuples(st.integers(0, 6), st.sampled_from("pq")), st.sampled_from(["x", "y", None]), max_size=9
    ),
    current=st.dictionaries(
        st.tuples(st.integers(0, 6), st.sampled_from("pq")), st.sampled_from(["x", "y", None]), max_size=9
    ),
)
def test_a_key_of_two_columns_agrees_with_counting_by_hand(tmp_path_factory, base, current):
    def table(rows: dict[tuple[int, str], str | None]) -> dict[str, pa.Array]:
        return {
            "n": pa.array([key[0] for key in rows], pa.int64()),
            "s": pa.array([key[1] for key in rows], pa.string()),
            "v": pa.array(list(rows.values()), pa.string()),
        }

    folder = tmp_path_factory.mktemp("keyed")
    diff = diff_datasets(dataset(folder / "a", table(base)), dataset(folder / "b", table(current)), key=["n", "s"])
    both = base.keys() & current.keys()
    if base and current:
        assert diff.keyed.added == len(current.keys() - base.keys())
        assert diff.keyed.removed == len(base.keys() - current.keys())
        assert diff.keyed.changed == sum(base[key] != current[key] for key in both)
        shares = [{v: n / len(rows) for v, n in Counter(rows.values()).items()} for rows in (base, current)]
        values = shares[0].keys() | shares[1].keys()
        expected = sum(abs(shares[0].get(v, 0) - shares[1].get(v, 0)) for v in values) / 2
        assert column(diff, "v").distance == pytest.approx(expected)
    else:
        assert diff.keyed is None
        assert (diff.base_rows, diff.current_rows) == (len(base), len(current))


def test_profiles_and_distributions_are_of_the_values(compare):
    diff = compare({"x": [0.0, 0.0, 10.0, None]}, {"x": [0.0, 10.0, 10.0, 10.0]})
    found = column(diff, "x")
    assert (found.base.missing, found.base.low, found.base.high, found.base.mean) == (
        1,
        0.0,
        10.0,
        pytest.approx(10 / 3),
    )
    assert (found.current.missing, found.current.mean) == (0, 7.5)
    assert [(row["low"], row["base"], row["current"]) for row in found.distribution] == [
        (0.0, 2, 1),
        (pytest.approx(29 / 3), 1, 3),
        (None, 1, 0),
    ]
    assert found.distance == pytest.approx(0.5)


def test_nothing_in_common_is_a_distance_of_one(compare):
    assert column(compare({"w": ["a", "b"]}, {"w": ["c", "d"]}), "w").distance == 1


@pytest.mark.parametrize(
    ("columns", "key", "said"),
    [
        (KEYS, ["nope"], "'nope' is not in both"),
        ({"id": [1, 1], "x": [1, 2]}, ["id"], "1 keys are there more than once"),
        ({"id": [1, None], "x": [1, 2]}, ["id"], "1 rows lack it"),
    ],
)
def test_a_key_that_does_not_tell_rows_apart_is_refused(compare, columns, key, said):
    with pytest.raises(ConfigError, match=said):
        compare(columns, columns, key=key)


def test_a_dataset_without_rows_can_be_compared(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    finish(empty, [], size=1)
    diff = diff_datasets(empty, dataset(tmp_path / "full", KEYS), key=["id"])
    assert (diff.base_rows, diff.current_rows, diff.row_change, diff.keyed) == (0, 4, math.inf, None)
    assert "0 → 4" in diff_text(diff)


def test_texts_say_what_changed(compare):
    diff = compare(
        {"id": [1, 2], "w|x": ["a", "b"]}, {"id": [1, 2, 3], "w|x": ["a", "c", "c"], "new": [1, 2, 3]}, key=["id"]
    )
    text = diff_text(diff)
    assert "rows     2 → 3 (+50.0%)" in text
    assert "+ new (int64)" in text
    assert "1 added, 0 removed, 1 changed" in text
    markdown = diff_markdown(diff, violations=["schema: schema is 1"])
    assert "| w\\|x |" in markdown
    assert "**schema: schema is 1**" in markdown


def test_the_comparison_is_a_report_like_any_other(tmp_path):
    base = dataset(tmp_path / "base", KEYS)
    current = dataset(tmp_path / "current", {**KEYS, "word": ["a", "b", "c", "d"], "new": [1, 2, 3, 4]})
    with diff_report(base, current, key=["id"]) as report, QueryCache() as cache:
        views = report.start(cache).views()
    assert {name: view.error for name, view in views.items() if view.error} == {}
    assert views["schema"].data["rows"] == [{"column": "new", "base": None, "current": "int64"}]
    assert views["keyed"].data["rows"] == [
        {"change": "removed", "rows": 0},
        {"change": "added", "rows": 0},
        {"change": "changed", "rows": 1},
    ]
    assert views["keyed_sample"].data["rows"] == [
        {"change": "changed", "id": 4, "column": "word", "base": None, "current": "d"}
    ]


class TestConditions:
    @pytest.fixture
    def diff(self, tmp_path):
        base = {"id": list(range(100)), "w": ["a"] * 100}
        current = {"id": list(range(10, 100)), "w": ["a"] * 60 + [None] * 30}
        first = dataset(tmp_path / "base", base, rejects=1)
        return diff_datasets(first, dataset(tmp_path / "current", current, rejects=4), key=["id"])

    @pytest.mark.parametrize(
        ("text", "holds"),
        [
            ("schema", False),
            ("rows", True),
            ("rows>9%", True),
            ("rows>10%", False),
            ("rows>=10%", True),
            ("rows>9", True),
            ("rows > 10", False),
            ("fewer>5%", True),
            ("rejected", True),
            ("rejected>3", False),
            ("added", False),
            ("added>=0", False),
            ("removed>=10", True),
            ("changed>29%", True),
            ("changed>30%", False),
            ("missing>0.3", True),
            ("missing[w]>34%", False),
            ("missing[id]", False),
            ("distance>0.3", True),
            ("distance[w]>=50%", False),
        ],
    )
    def test_a_condition_holds_or_does_not(self, diff, text, holds):
        assert bool(violations(diff, [Condition.parse(text)])) == holds

    @pytest.mark.parametrize("text", ["", "rows<5", "rows>", "rows>x", "rowz", "rows[w]>1", "missing[]", "rows>5%%"])
    def test_what_is_no_condition_is_refused(self, text):
        with pytest.raises(ConfigError):
            Condition.parse(text)

    def test_a_condition_that_cannot_be_told_is_refused(self, diff):
        with pytest.raises(ConfigError, match="column 'nope'"):
            violations(diff, [Condition.parse("distance[nope]>0.1")])
        with pytest.raises(ConfigError, match="needs --key"):
            violations(diff.model_copy(update={"keyed": None}), [Condition.parse("added")])
