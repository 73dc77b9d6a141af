"""The first of each kind is kept, in order: exactly equal rows, or texts that are nearly the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.processors import Stage
from tests.processors.support import make, run, run_on_parts

TEXTS = [
    "The airport is clean, and the staff were friendly to us.",
    "the  airport is clean, and the STAFF were friendly to us!",
    "The airport is dirty; nobody was friendly at all there.",
    "Parking was hard to find on a Sunday afternoon in June.",
    "Parking was hard to find on a Sunday afternoon in July.",
    "",
    None,
    "short",
]


def deduplicate(**config: Any) -> Any:
    return make(processor_type="deduplicate", **config)


def test_it_runs_after_generation_unless_told_otherwise() -> None:
    assert deduplicate().stage is Stage.AFTER_GENERATION
    assert deduplicate(build_stage="post_batch").stage is Stage.POST_BATCH


def test_exact_duplicates_go_and_text_is_compared_as_it_stands(tmp_path: Path) -> None:
    table = pa.table(
        {
            "code": ["0E8", "0e8", "0E8", None, "", None, "0", "00"],
            "n": [1, 1, 1, 2, 2, 2, 3, 3],
            "list": [["a"], ["a"], ["a"], None, [], None, ["b"], ["b"]],
            "took": pa.array([1, 1, 1, None, 2, None, 3, 3], pa.duration("s")),
        }
    )
    expected = table.take([0, 1, 3, 4, 6, 7])
    assert run(table, deduplicate()).equals(expected)
    assert run_on_parts(tmp_path, table, deduplicate()).equals(expected)
    assert run(table, deduplicate(columns=["n"])).equals(table.take([0, 3, 6]))


def test_near_duplicates_go(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "id": range(len(TEXTS))})
    processor = deduplicate(columns=["text"], method="minhash", threshold=0.7)
    kept = [0, 2, 3, 5, 7]  # empty and missing texts are the same
    assert run(table, processor).column("id").to_pylist() == kept
    assert run_on_parts(tmp_path, table, processor).column("id").to_pylist() == kept


def test_a_threshold_of_one_keeps_what_differs_at_all() -> None:
    table = pa.table({"text": TEXTS[:5]})
    assert run(table, deduplicate(method="minhash", threshold=1.0)).num_rows == 5


def test_duplicates_are_found_over_the_parts_of_a_dataset(tmp_path: Path) -> None:
    table = pa.table({"n": [n % 1_000 for n in range(5_000)]})
    assert run_on_parts(tmp_path, table, deduplicate(), part_rows=700).column("n").to_pylist() == list(range(1_000))


def test_unknown_columns_are_told() -> None:
    assert list(deduplicate(columns=["tex"]).check(["text"])) == [
        ("columns[0]", "column 'tex' is not defined; did you mean 'text'?")
    ]


@pytest.mark.parametrize("config", [{"threshold": 0.0}, {"threshold": 1.1}, {"columns": []}, {"method": "fuzzy"}])
def test_wrong_settings_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(config))):
        deduplicate(**config)
