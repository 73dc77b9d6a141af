"""The report that every dataset has: what is in it follows what is in the dataset."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from prefect_datagen.reports.auto import _fixed_charts, auto_report
from prefect_datagen.reports.auto_columns import column_charts
from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.views import ChartView
from tests.reports.datasets import commit, finish, rows, write_dataset


def drawn(path: Path) -> dict[str, ChartView]:
    with auto_report(path) as report, QueryCache() as cache:
        views = report.start(cache).views()
    assert {name: view.error for name, view in views.items() if view.error} == {}
    return views


def by_title(views: dict[str, ChartView], title: str) -> list[dict[str, object]]:
    return next(view.data["rows"] for view in views.values() if view.title == title)


def test_everything_there_is_something_to_show_for_is_shown(tmp_path):
    path = write_dataset(tmp_path / "ds", groups=6, size=40)
    (path / "config.yaml").write_text(
        "columns:\n- {name: review, column_type: llm-text, prompt: 'About {{ category }}'}\n"
        "- {name: gone, column_type: llm-text, prompt: 'About {{ review }} and {{ dropped }}'}\n"
    )
    views = drawn(path)
    assert views["rows"].data["rows"] == [{"value": 228}]
    assert views["rejected_rows"].data["rows"] == [{"value": 12}]
    assert by_title(views, "Rejected rows by reason") == [
        {"reason": "invalid answer", "rows": 6},
        {"reason": "timeout", "rows": 6},
    ]
    assert views["progress"].data["rows"][-1] | {"moment": ""} == {"moment": "", "written": 228, "rejected": 12}
    assert [row["tokens"] for row in by_title(views, "Tokens by model")] == [240 * 300, 240 * 40, 240 * 90, 240 * 210]
    prompts = by_title(views, "Prompts")
    assert prompts[0]["prompt"].startswith("About ")
    assert prompts[1]["prompt"].startswith("(cannot be shown: ")
    assert len(by_title(views, "Rejected rows")) == 10


def test_throughput_accounts_for_every_row(tmp_path):
    views = drawn(write_dataset(tmp_path / "ds", groups=12, size=10))
    found = views["throughput"].data["rows"]
    moments = [datetime.fromisoformat(row["moment"]) for row in found]
    step = (moments[1] - moments[0]).total_seconds()
    assert sum(row["rows_per_second"] for row in found) * step == pytest.approx(96)


@pytest.mark.parametrize(("groups", "points"), [(1, 1), (500, 500), (501, 251), (10_000, 500), (10_001, 477)])
def test_progress_of_thousands_of_row_groups_is_drawn_with_few_points(groups, points):
    """The last point is always there, and tells all rows."""
    (sql,) = [chart["sql"] for name, chart in _fixed_charts().items() if name == "progress"]
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE row_groups AS SELECT i AS index, to_timestamp(i // 3) AS ended_at, 10 AS written, 1 AS rejected "
            f"FROM range({groups}) AS t(i) UNION ALL SELECT -1, NULL, 10, 1"
        )
        found = connection.execute(sql).fetchall()
    assert len(found) == points
    assert found[-1][1:] == (10 * groups, groups)


def test_it_works_while_the_dataset_is_being_built_and_grows_with_it(tmp_path):
    path = tmp_path / "ds"
    (path / "manifests").mkdir(parents=True)
    empty = drawn(path)
    assert empty["rows"].data["rows"] == [{"value": 0}]
    assert "sample" not in empty
    commit(path, 0, rows(0, 30), start_row=0)
    views = drawn(path)
    assert views["rows"].data["rows"] == [{"value": 30}]
    assert {"sample", "columns", "tokens_by_model"} <= set(views)


def test_a_dataset_of_no_rows_has_a_report(tmp_path):
    path = tmp_path / "ds"
    path.mkdir()
    finish(path, [commit(path, 0, rows(0, 0), start_row=0)], size=10)
    assert drawn(path)["rows"].data["rows"] == [{"value": 0}]


def test_the_traces_tell_the_slowest_cells(tmp_path):
    import pyarrow.parquet as pq

    path = write_dataset(tmp_path / "ds", groups=1, size=10)
    (path / "traces").mkdir()
    times = {"queued": [0.0, 0.0, 1.0], "started": [1.0, 1.0, 1.5], "ended": [2.0, 9.0, 2.0]}
    trace = pa.table(
        {"column": ["a", "b", "a"], "row_group": [0] * 3, "row_index": [0, 1, 2], "copy": [0] * 3, **times,
         "status": ["done"] * 3, "attempt": [0] * 3, "input_tokens": [1] * 3, "output_tokens": [1] * 3}
    )  # fmt: skip
    pq.write_table(trace, path / "traces/part-00000.parquet")
    manifest = path / "manifests/part-00000.json"
    manifest.write_text(manifest.read_text().replace('"trace_part":null', '"trace_part":"traces/part-00000.parquet"'))
    views = drawn(path)
    assert views["slowest_cells"].data["rows"][0] | {} == {
        "column": "b", "row": 1, "row_group": 0, "took": 8.0, "waited": 1.0, "attempt": 0, "status": "done",
    }  # fmt: skip
    assert [row["column"] for row in views["cells_by_column"].data["rows"]] == ["b", "a"]


class TestColumns:
    """Each kind of column gets the charts that fit it, and they count every row."""

    NAMES = ("plain", 'with "quotes"', "it's", "ünï", "select", "a.b[0]")

    def charts(self, tmp_path: Path, columns: dict[str, pa.Array]) -> dict[str, ChartView]:
        path = tmp_path / "ds"
        path.mkdir()
        table = pa.table(columns)
        finish(path, [commit(path, 0, table, start_row=0)], size=table.num_rows)
        return {view.title: view for name, view in drawn(path).items() if name.startswith("column_")}

    def counted(self, view: ChartView) -> int:
        return sum(row["rows"] for row in view.data["rows"])

    def test_names_of_columns_are_only_names(self, tmp_path):
        views = self.charts(tmp_path, {name: pa.array(["x", "y", None]) for name in self.NAMES})
        assert tuple(views) == self.NAMES
        assert all(view.data["rows"][0]["rows"] == 1 for view in views.values())

    @pytest.mark.parametrize(
        "values",
        [
            pa.array([1, 1, 5, 9, 1_000_000_007]),
            pa.array([-(2**63), 2**63 - 1, 0]),
            pa.array([7, 7, 7]),
            pa.array([0.1, 0.2, 1e300]),
            pa.array([1.5, 1.5]),
            pa.array([datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)]),
            pa.array([True, False, True]),
            pa.array([[1, 2], [], [3]]),
        ],
        ids=["int", "extremes", "one value", "float", "one float", "time", "bool", "list"],
    )
    def test_every_value_is_counted_once(self, tmp_path, values):
        (view,) = self.charts(tmp_path, {"x": values}).values()
        assert self.counted(view) == len(values)

    def test_what_is_no_number_is_left_out(self, tmp_path):
        (view,) = self.charts(tmp_path, {"x": pa.array([1.0, 2.0, None, float("nan"), float("inf")])}).values()
        assert self.counted(view) == 2

    def test_whole_numbers_have_bins_of_whole_numbers(self, tmp_path):
        (view,) = self.charts(tmp_path, {"x": pa.array([1, 2, 2, 5])}).values()
        assert view.data["rows"] == [
            {"low": 0.5, "high": 1.5, "rows": 1},
            {"low": 1.5, "high": 2.5, "rows": 2},
            {"low": 4.5, "high": 5.5, "rows": 1},
        ]

    def test_free_text_is_shown_by_its_lengths_and_categories_by_their_values(self):
        free = pa.chunked_array([[f"sentence number {n} " * 10 for n in range(100)]])
        few = pa.chunked_array([["yes", "no"] * 50])
        assert column_charts("t", pa.string(), free).texts
        assert not column_charts("t", pa.string(), few).texts

    def test_judges_are_shown_by_the_scores_they_gave(self, tmp_path):
        judged = pa.array(
            [{"wit": {"score": n % 3, "reasoning": "r"}, "tact": {"score": 2, "reasoning": "r"}} for n in range(6)]
        )
        (view,) = self.charts(tmp_path, {"judge": judged}).values()
        assert view.data["rows"] == [
            {"score": "tact", "given": "2", "rows": 6},
            {"score": "wit", "given": "0", "rows": 2},
            {"score": "wit", "given": "1", "rows": 2},
            {"score": "wit", "given": "2", "rows": 2},
        ]
