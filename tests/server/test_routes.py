"""Rows, counts, profiles and downloads over HTTP, against the values that were written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="module")
def server(module_serve: Any, module_dataset: Any) -> Any:
    """A server over 60 rows in three row groups, two of which lost rows."""
    dataset = module_dataset(row_groups=1)
    dataset.commit(rejected=2)
    dataset.commit(rejected=3)
    dataset.finish()
    return module_serve(dataset.path)


def rows(server: Any, **asked: Any) -> Any:
    answer = server.get(f"/api/rows?{urlencode(asked, doseq=True)}")
    assert answer.status == 200, answer.body
    return answer.json


def ids(server: Any, **asked: Any) -> list[int]:
    return [row[0] for row in rows(server, column="id", **asked)["rows"]]


WRITTEN = [*range(20), *range(20, 38), *range(40, 57)]


def test_pages_follow_the_order_of_the_dataset_over_row_groups(server: Any) -> None:
    paged: list[int] = []
    while len(paged) < len(WRITTEN):
        page = rows(server, column="id", offset=len(paged), limit=7)
        assert page["total"] == len(WRITTEN)
        paged += [row[0] for row in page["rows"]]
    assert paged == WRITTEN
    assert ids(server, offset=len(WRITTEN)) == []
    assert ids(server, offset=10**15) == []


def test_text_and_other_values_arrive_as_they_were_written(server: Any) -> None:
    page = rows(server, limit=10)
    assert page["columns"][1] == {"name": "code", "type": "VARCHAR"}
    codes = [row[1] for row in page["rows"]]
    assert codes == ["0E8", "00M", "1.10", "null", "true", "NA", "", "1e5", "0E8", "00M"]
    assert page["rows"][3] == [3, "null", None, 0.75, "2003-04-01", ["t0", "all"], False]
    assert page["rows"][9][3] == "NaN"


def test_filter_and_sort_are_those_of_the_whole_dataset(server: Any) -> None:
    assert ids(server, filter="city = 'Oslo' and id >= 30") == [32, 36, 40, 44, 48, 52, 56]
    assert ids(server, sort="-id", limit=3) == [56, 55, 54]
    assert ids(server, filter="code = '1.10'", sort="city,-id", limit=2) == [50, 42]
    assert server.get("/api/count?filter=city%20is%20null").json == {"rows": len([n for n in WRITTEN if n % 4 == 3])}


def test_pages_of_equal_values_neither_overlap_nor_leave_rows_out(server: Any) -> None:
    paged = [each for offset in range(0, len(WRITTEN), 5) for each in ids(server, sort="ok", offset=offset, limit=5)]
    assert sorted(paged) == WRITTEN
    assert paged == sorted(WRITTEN, key=lambda n: (n % 2 == 0, WRITTEN.index(n)))


@pytest.mark.parametrize(
    "asked",
    [
        {"filter": "id = 1) OR (1 = 1"},
        {"filter": "id = (SELECT 1)"},
        {"filter": "nothing = 1"},
        {"column": "id FROM data; SELECT 1"},
        {"sort": "id; DROP VIEW data"},
        {"offset": -1},
        {"limit": 1001},
    ],
)
def test_what_is_not_a_column_filter_or_page_is_refused(server: Any, asked: dict[str, Any]) -> None:
    answer = server.get(f"/api/rows?{urlencode(asked)}")
    assert answer.status == 400
    assert answer.json["error"]["code"] in {"wrong filter", "wrong parameter"}


def test_a_date_that_is_none_is_the_clients_mistake(server: Any) -> None:
    answer = server.get("/api/rows?" + urlencode({"filter": "born > 'yesterday'"}))
    assert (answer.status, answer.error["code"]) == (400, "wrong value")


def test_rejected_rows_are_a_table_like_any_other(server: Any) -> None:
    page = rows(server, table="rejects", column=["row_index", "reason"], filter="row_index > 38")
    assert page["rows"] == [[39, "timeout"], [57, "timeout"], [58, "timeout"], [59, "timeout"]]
    assert rows(server, table="traces")["rows"] == []
    assert server.get("/api/count?table=traces").json == {"rows": 0}


def test_the_summary_adds_up(server: Any) -> None:
    (summary,) = server.get("/api/datasets").json
    assert (summary["status"], summary["row_groups"]) == ("complete", 3)
    assert (summary["rows"], summary["rejected"], summary["filtered"]) == (55, 5, 0)
    assert summary["tables"]["rejects"]["rows"] == 5


def test_the_profile_measures_each_column_by_its_kind(server: Any) -> None:
    columns = {column["name"]: column for column in server.get("/api/profile").json["columns"]}
    assert columns["id"]["minimum"] == "0"
    assert columns["id"]["maximum"] == "56"
    assert columns["id"]["mean"] == pytest.approx(sum(WRITTEN) / len(WRITTEN))
    assert columns["score"]["not_finite"] == len([n for n in WRITTEN if n % 10 == 9])
    assert columns["city"]["nulls"] == len([n for n in WRITTEN if n % 4 == 3])
    assert columns["city"]["longest"] == 6
    assert columns["code"]["empty"] == len([n for n in WRITTEN if n % 8 == 6])
    assert columns["ok"]["true"] == len([n for n in WRITTEN if n % 2 == 0])
    assert columns["born"]["minimum"] == "2000-01-01"
    assert columns["tags"]["kind"] == "other"


def test_the_most_frequent_values_are_counted(server: Any) -> None:
    top = server.get("/api/top?column=city").json["values"]
    assert sum(count for _, count in top) == len(WRITTEN)
    assert dict(map(tuple, top))[None] == len([n for n in WRITTEN if n % 4 == 3])
    assert server.get("/api/top?column=nothing").status == 400


class TestDownload:
    """Files hold what the dataset holds."""

    def test_parquet_has_the_same_types_and_values(self, server: Any, tmp_path: Path) -> None:
        answer = server.get("/api/download?format=parquet")
        assert "current-data.parquet" in answer.headers["content-disposition"]
        table = pq.read_table(io.BytesIO(answer.body))
        assert table.schema.types == [
            pa.int64(), pa.string(), pa.string(), pa.float64(), pa.date32(), pa.list_(pa.string()), pa.bool_(),
        ]  # fmt: skip
        assert table["id"].to_pylist() == WRITTEN
        assert table["tags"][0].as_py() == ["t0", "all"]

    def test_csv_keeps_empty_text_and_null_apart(self, server: Any) -> None:
        answer = server.get(
            "/api/download?" + urlencode({"format": "csv", "column": ["id", "code", "city", "tags"]}, True)
        )
        lines = answer.body.decode().splitlines()
        assert lines[:2] == ['"id","code","city","tags"', '0,"0E8","Oslo","[""t0"",""all""]"']
        options = pa_csv.ConvertOptions(
            column_types={"code": pa.string(), "city": pa.string()},
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        table = pa_csv.read_csv(io.BytesIO(answer.body), convert_options=options)
        assert table["code"].to_pylist()[:8] == ["0E8", "00M", "1.10", "null", "true", "NA", "", "1e5"]
        assert table["city"].to_pylist()[:4] == ["Oslo", "Roma", "Zürich", None]

    def test_jsonl_has_one_object_a_row(self, server: Any) -> None:
        answer = server.get("/api/download?" + urlencode({"format": "jsonl", "filter": "id < 2", "sort": "-id"}))
        records = [json.loads(line) for line in answer.body.splitlines()]
        assert [record["id"] for record in records] == [1, 0]
        assert records[0]["code"] == "00M"

    def test_a_filter_that_leaves_nothing_gives_a_header(self, server: Any) -> None:
        answer = server.get("/api/download?" + urlencode({"format": "csv", "column": "id", "filter": "id < 0"}))
        assert answer.body == b'"id"\n'

    def test_a_table_that_is_not_there_is_not_found(self, server: Any) -> None:
        assert server.get("/api/download?table=traces").status == 404

    def test_a_client_that_leaves_ends_the_download(self, server: Any, eventually: Any) -> None:
        before = server.get("/api/statistics").json["tasks"]
        for _ in range(5):
            connection = server.connect()
            connection.request("GET", "/api/download?format=jsonl")
            connection.getresponse().read(10)
            connection.close()
        eventually(lambda: server.get("/api/statistics").json["tasks"] <= before)


def test_a_manifest_that_leads_out_of_the_dataset_is_refused(serve: Any, new_dataset: Any, tmp_path: Path) -> None:
    """A dataset from somewhere else cannot make the server read another file, by a path or by a link."""
    outside = tmp_path / "data" / "part-00000.parquet"
    outside.parent.mkdir()
    pq.write_table(pa.table({"secret": ["x"]}), outside)
    by_path = new_dataset("by-path", row_groups=1)
    manifest = by_path.path / "manifests" / "part-00000.json"
    manifest.write_text(manifest.read_text().replace("data/part-00000.parquet", "../data/part-00000.parquet"))
    by_link = new_dataset("by-link", row_groups=1)
    part = by_link.path / "data" / "part-00000.parquet"
    part.unlink()
    part.symlink_to(outside)
    for dataset in (by_path, by_link):
        server = serve(dataset.path)
        assert server.wait(lambda state: state["error"] or state["ready"])["error"] == "SinkError"
        assert server.get("/api/rows").status == 503


def test_a_dataset_in_a_folder_with_an_odd_name_is_served(serve: Any, new_dataset: Any) -> None:
    """Brackets, stars and quotes are no patterns, and `x=1` is no column."""
    dataset = new_dataset("x=1 it's [a-z]*", row_groups=2)
    server = serve(dataset.path)
    page = rows(server, column="id", sort="-id", limit=1)
    assert page["rows"] == [[39]]
    assert [column["name"] for column in rows(server)["columns"]][-1] == "ok"
    assert ids(server, limit=1) == [0]
