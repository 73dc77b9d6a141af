"""Building datasets through the flow, against a real model server process and Prefect's API."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pytest
from prefect import State
from prefect.client.orchestration import get_client

from prefect_datagen.blocks import InMemoryRowGroupSink, OfflineModel, ParquetRowGroupSink
from prefect_datagen.columns.custom import Resized
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import (
    ConfigError,
    EarlyShutdownError,
    ProcessorError,
    ResumeRefusedError,
    ShortfallError,
)
from prefect_datagen.engine.outcomes import DatasetMetadata, Outcome, Record, RowGroupManifest, RowGroupOutcome, Verdict
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.preview import preview_dataset
from prefect_datagen.flows.results import BuildResult
from prefect_datagen.storage.directory import DatasetDirectory
from prefect_datagen.storage.reader import DatasetReader
from tests.flows.configs import AIRPORTS, feedback, samplers
from tests.mock_server import MockServer
from tests.prefect_api import task_run_states

pytestmark = pytest.mark.usefixtures("prefect_api")


def build(config: Any, path: Path, rows: int, **run: Any) -> BuildResult:
    """Build with these run settings; `seed` is 7 unless told."""
    settings = RunConfig.model_validate({"seed": 7, **run})
    return build_dataset(config, num_records=rows, sink=ParquetRowGroupSink(path=path), run=settings)


def test_a_build_over_http_writes_every_row_in_order(tmp_path: Path, mock_server: MockServer) -> None:
    result = build(feedback(mock_server.url), tmp_path / "d", 25, row_group_size=10)
    frame = result.load_dataset()
    assert len(frame) == 25
    assert result.metadata.status is Verdict.COMPLETE
    assert list(frame.columns) == ["number", "mood", "title", "text", "reply"]
    assert (frame["title"] == frame["mood"] + " " + frame["number"]).all()
    stats = mock_server.stats()
    assert (stats.calls, stats.repeated_requests) == (50, 0)
    usage = result.metadata.usage["writer"]
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (50, stats.input_tokens, stats.output_tokens)
    assert stats.max_in_flight <= 8


def test_the_directory_is_readable_as_it_is(tmp_path: Path) -> None:
    result = build(feedback(), tmp_path / "d", 12, row_group_size=5)
    data = tmp_path / "d" / "data"
    assert len(pd.read_parquet(data)) == 12
    assert ds.dataset(data).count_rows() == 12
    assert result.dataset().schema.names == ds.dataset(data).schema.names


@pytest.mark.parametrize(("rows", "size", "groups"), [(0, 5, 1), (1, 5, 1), (5, 5, 1), (11, 5, 3), (3, 1, 3)])
def test_exactly_so_many_rows(tmp_path: Path, rows: int, size: int, groups: int) -> None:
    result = build(samplers(), tmp_path / "d", rows, row_group_size=size)
    assert len(result.load_dataset()) == rows
    assert len(pd.read_parquet(tmp_path / "d" / "data")) == rows
    assert len(result.metadata.row_groups) == groups
    assert result.metadata.status is Verdict.COMPLETE


def test_the_same_seed_gives_the_same_rows_whatever_the_row_groups(tmp_path: Path) -> None:
    first = build(feedback(), tmp_path / "a", 60, row_group_size=7, max_concurrent_row_groups=8).load_dataset()
    second = build(feedback(), tmp_path / "b", 60, row_group_size=60, max_concurrent_row_groups=1).load_dataset()
    third = build(feedback(), tmp_path / "c", 60, row_group_size=7, seed=8).load_dataset()
    pd.testing.assert_frame_equal(first, second)
    assert not first["number"].equals(third["number"])


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path, mock_server: MockServer) -> None:
    seed = tmp_path / "codes.csv"
    codes = ["0E8", "00M", "1.10", "null", "true", "NA", "", "007"]
    seed.write_text("code\n" + "\n".join(f'"{code}"' for code in codes) + "\n")
    mock_server.become(log_requests=True)
    config = feedback(
        mock_server.url,
        seed_config={"source": {"seed_type": "local", "path": str(seed)}},
        columns=[
            {"name": "code", "column_type": "seed-dataset"},
            {"name": "copy", "column_type": "expression", "expr": "{{ code }}"},
            {"name": "text", "column_type": "llm-text", "model_alias": "writer", "prompt": "[{{ code }}|{{ copy }}]"},
        ],
    )
    frame = build(config, tmp_path / "d", len(codes), row_group_size=3).load_dataset()
    assert list(frame["code"]) == codes
    assert list(frame["copy"]) == codes
    sent = {request.prompt for request in mock_server.requests()}
    assert sent == {f"[{code}|{code}]" for code in codes}


def test_an_expression_that_renders_to_nothing_is_an_empty_string_and_no_lost_row(
    tmp_path: Path, mock_server: MockServer
) -> None:
    """As a full column and by cells, where the expression waits for a model; downstream it is rendered as it is."""
    mock_server.become(log_requests=True)
    config = feedback(mock_server.url)
    config["columns"][2]["expr"] = "{% if mood == 'glad' %}{{ number }}{% endif %}"
    config["columns"].append({"name": "echo", "column_type": "expression", "expr": "{{ text if mood == 'sad' }}"})
    config["columns"][3]["prompt"] = "About <{{ title }}>, {{ number }}"
    result = build(config, tmp_path / "d", 20, row_group_size=10)
    assert (result.metadata.actual_num_records, result.metadata.rejected) == (20, 0)
    frame = result.load_dataset()
    assert set(frame["mood"]) == {"glad", "sad", "0E8"}
    assert list(frame["title"]) == [row.number if row.mood == "glad" else "" for row in frame.itertuples()]
    assert list(frame["echo"]) == [row.text if row.mood == "sad" else "" for row in frame.itertuples()]
    sent = {request.prompt for request in mock_server.requests()}
    assert {f"About <{row.title}>, {row.number}" for row in frame.itertuples()} < sent


def test_a_second_build_reuses_everything_and_asks_nothing(tmp_path: Path, mock_server: MockServer) -> None:
    config = feedback(mock_server.url)
    build(config, tmp_path / "d", 20, row_group_size=10)
    parts = {part: part.read_bytes() for part in (tmp_path / "d" / "data").iterdir()}
    mock_server.become()
    result = build(config, tmp_path / "d", 20, row_group_size=10)
    assert mock_server.stats().calls == 0
    assert all(outcome.reused for outcome in result.metadata.row_groups)
    assert {part: part.read_bytes() for part in (tmp_path / "d" / "data").iterdir()} == parts


def test_a_run_reads_each_manifest_once_and_marks_only_what_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Verdict] = []
    parsed: list[str] = []
    write, parse = DatasetDirectory.write_metadata, Record.model_validate_json.__func__  # type: ignore[attr-defined]

    def writes(store: DatasetDirectory, metadata: DatasetMetadata) -> None:
        said.append(metadata.status)
        write(store, metadata)

    def parses(kind: type[Record], text: bytes) -> Record:
        parsed.append(kind.__name__)
        record: Record = parse(kind, text)
        return record

    build(samplers(), tmp_path / "d", 12, row_group_size=4)
    monkeypatch.setattr(DatasetDirectory, "write_metadata", writes)
    monkeypatch.setattr(Record, "model_validate_json", classmethod(parses))
    build(samplers(), tmp_path / "d", 12, row_group_size=4)
    assert said == [Verdict.COMPLETE]
    assert parsed.count("RowGroupManifest") == 3
    assert parsed.count("DatasetMetadata") == 1
    said.clear()
    build(samplers(), tmp_path / "d", 16, row_group_size=4)
    assert said == [Verdict.BUILDING, Verdict.COMPLETE]


def test_what_is_committed_is_read_again_under_the_lock_where_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    committed, open_sink = DatasetReader.committed, ParquetRowGroupSink.open
    manifest = tmp_path / "d" / "manifests" / "part-00002.json"

    def reads(reader: DatasetReader) -> dict[int, RowGroupManifest]:
        read.append(reader.location)
        return committed(reader)

    def opens(sink: ParquetRowGroupSink, **options: Any) -> DatasetDirectory:
        if not manifest.exists():
            manifest.write_bytes(content)  # another process commits between the look without a lock and the lock
        return open_sink(sink, **options)

    def settle() -> None:
        for folder in ("manifests", "data"):
            os.utime(tmp_path / "d" / folder, times=(0, 0))

    build(samplers(), tmp_path / "d", 12, row_group_size=4)
    content = manifest.read_bytes()
    settle()
    monkeypatch.setattr(DatasetReader, "committed", reads)
    monkeypatch.setattr(ParquetRowGroupSink, "open", opens)
    build(samplers(), tmp_path / "d", 12, row_group_size=4)
    assert len(read) == 1
    manifest.unlink()
    settle()
    result = build(samplers(), tmp_path / "d", 12, row_group_size=4)
    assert len(read) == 3
    assert [outcome.reused for outcome in result.metadata.row_groups] == [True] * 3
    assert manifest.read_bytes() == content


def test_a_larger_number_extends_and_keeps_committed_parts(tmp_path: Path, mock_server: MockServer) -> None:
    config = feedback(mock_server.url)
    build(config, tmp_path / "d", 15, row_group_size=10)
    parts = {part: part.read_bytes() for part in (tmp_path / "d" / "data").iterdir()}
    mock_server.become()
    result = build(config, tmp_path / "d", 30, row_group_size=10)
    assert mock_server.stats().calls == 30
    assert len(result.load_dataset()) == 30
    assert all(part.read_bytes() == before for part, before in parts.items())
    whole = build(config, tmp_path / "e", 30, row_group_size=10).load_dataset()
    pd.testing.assert_frame_equal(result.load_dataset(), whole)


def test_a_smaller_number_is_refused(tmp_path: Path) -> None:
    build(samplers(), tmp_path / "d", 20)
    with pytest.raises(ResumeRefusedError, match="was built for 20 rows; 10 are fewer"):
        build(samplers(), tmp_path / "d", 10)


def test_a_changed_prompt_pays_for_its_column_and_what_reads_it_only(tmp_path: Path, mock_server: MockServer) -> None:
    config = feedback(mock_server.url)
    config["columns"].append(
        {"name": "other", "column_type": "llm-text", "model_alias": "writer", "prompt": "Also {{ title }}."}
    )
    before = build(config, tmp_path / "d", 10).load_dataset()
    config["columns"][4]["prompt"] = "Answer: {{ text }}"
    mock_server.become()
    result = build(config, tmp_path / "d", 10)
    assert mock_server.stats().calls == 10
    after = result.load_dataset()
    assert list(after["text"]) == list(before["text"])
    assert list(after["other"]) == list(before["other"])
    assert (after["reply"] != before["reply"]).all()
    assert list((tmp_path / "d" / ".superseded").iterdir())


def test_a_resume_of_a_changed_config_names_every_difference(tmp_path: Path) -> None:
    build(feedback(), tmp_path / "d", 5)
    config = feedback()
    config["columns"][3]["prompt"] = "Something else {{ title }}"
    config["columns"].pop(4)
    with pytest.raises(ResumeRefusedError) as refused:
        build(config, tmp_path / "d", 5, resume="always", seed=9)
    assert refused.value.differences == [
        "column order changed",
        "column reply was removed",
        "column text changed: prompt 'Write about {{ title }}.' -> 'Something else {{ title }}'",
        "run seed changed: 7 -> 9",
    ]


def test_another_row_group_size_is_refused_with_the_reason(tmp_path: Path) -> None:
    build(samplers(), tmp_path / "d", 5, row_group_size=5)
    with pytest.raises(ResumeRefusedError, match="row_group_size: 5 on disk, 2 asked for"):
        build(samplers(), tmp_path / "d", 10, row_group_size=2, resume="always")


def test_a_resume_that_asks_for_no_row_group_size_goes_on_with_that_of_the_dataset(tmp_path: Path) -> None:
    build(samplers(), tmp_path / "d", 5, row_group_size=5)
    result = build(samplers(), tmp_path / "d", 12, resume="always")
    assert [manifest.planned for manifest in DatasetReader(tmp_path / "d").committed().values()] == [5, 5, 2]
    assert result.metadata.row_group_size == 5


def test_row_groups_are_large_where_rows_are_cheap(tmp_path: Path) -> None:
    """A dataset that is set aside has no say in the size of the next one."""
    columns = samplers()["columns"]
    configs = {
        "samplers": samplers(),
        "sql": samplers(columns=[*columns, {"name": "long", "column_type": "sql", "expr": "length(title)"}]),
        "model": feedback(),
        "processor": samplers(processors=[{"name": "all", "processor_type": "filter", "condition": "mood <> ''"}]),
    }
    sizes = {name: build(config, tmp_path / "d", 3).metadata.row_group_size for name, config in configs.items()}
    assert sizes == {"samplers": 250_000, "sql": 250_000, "model": 1_000, "processor": 1_000}


def test_rejected_rows_are_stored_and_counted_and_fail_the_flow(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(fail_prompt_regex="sad", fail_prompt_code="400")
    config = feedback(mock_server.url)
    with pytest.raises(ShortfallError) as short:
        build(config, tmp_path / "d", 40, row_group_size=10, disable_early_shutdown=True)
    sink = ParquetRowGroupSink(path=tmp_path / "d")
    rejects = sink.reader().rejects().to_pylist()
    written = len(sink.reader().load())
    assert written + len(rejects) == 40
    assert len(rejects) > 0
    assert {(row["column"], row["reason"]) for row in rejects} == {("text", "400")}
    assert short.value.rejected_by_reason == {"400": len(rejects)}
    metadata = sink.reader().metadata()
    assert metadata is not None
    assert metadata.status is Verdict.PARTIAL


def test_a_shortfall_may_be_a_warning(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(fail_prompt_regex="sad", fail_prompt_code="400")
    state: State[BuildResult] = build_dataset(
        feedback(mock_server.url),
        num_records=30,
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        run=RunConfig(seed=7, on_shortfall="warn", disable_early_shutdown=True),
        return_state=True,
    )
    assert state.is_completed()
    assert state.name == "Partial"
    assert state.message is not None
    assert "rejected: 400 " in state.message


SOME_ITEMS: dict[str, Any] = {
    "columns": [
        {"name": "code", "column_type": "seed-dataset"},
        {"name": "text", "column_type": "llm-text", "model_alias": "writer", "prompt": "Item {{ code }}."},
    ],
}


def build_items(url: str, folder: Path, **run: Any) -> State[BuildResult]:
    """A hundred items, of which the endpoint refuses the first seventeen."""
    seed = folder / "items.csv"
    seed.write_text("code\n" + "\n".join(f"i{number:03}" for number in range(100)))
    source = {"seed_type": "local", "path": str(seed)}
    return build_dataset(
        feedback(url, seed_config={"source": source}, **SOME_ITEMS),
        num_records=100,
        sink=ParquetRowGroupSink(path=folder / "d"),
        run=RunConfig.model_validate({"seed": 7, "row_group_size": 25, "disable_early_shutdown": True, **run}),
        return_state=True,
    )


@pytest.mark.parametrize(("min_completion", "is_enough"), [(0.8, True), (0.83, True), (0.84, False), (1.0, False)])
def test_min_completion_says_how_many_rows_are_enough(
    min_completion: float, is_enough: bool, tmp_path: Path, mock_server: MockServer
) -> None:
    """The state's message is the same either way, and the dataset says that it is partial, with the rows it has."""
    mock_server.become(fail_prompt_regex=r"i0(0\d|1[0-6])", fail_prompt_code="400")
    state = build_items(mock_server.url, tmp_path, min_completion=min_completion)
    assert state.name == ("Completed" if is_enough else "Failed")
    with get_client(sync_client=True) as client:
        flow_run = state.state_details.flow_run_id
        assert flow_run is not None
        stored = client.read_flow_run(flow_run).state
    assert stored is not None
    assert stored.name == state.name
    words = "83 of 100 rows written (83.0 %), 17 rejected: 400 17"
    assert words in (stored.message or "")
    if is_enough:
        assert stored.message == words
    else:
        assert isinstance(state.result(raise_on_failure=False), ShortfallError)
    reader = ParquetRowGroupSink(path=tmp_path / "d").reader()
    metadata = reader.metadata()
    assert metadata is not None
    assert metadata.status is Verdict.PARTIAL
    assert list(reader.load()["code"]) == [f"i{number:03}" for number in range(17, 100)]


def test_repair_makes_again_what_a_retry_can_help(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(fail_prompt_regex="sad", fail_prompt_code="500")
    config = feedback(mock_server.url)
    run = {"row_group_size": 5, "max_retries": 0, "salvage_rounds": 0, "on_shortfall": "warn"}
    first = build(config, tmp_path / "d", 20, disable_early_shutdown=True, **run)
    assert 0 < first.metadata.actual_num_records < 20
    mock_server.become()
    second = build(config, tmp_path / "d", 20, resume="repair", **run)
    assert second.metadata.actual_num_records == 20
    lost = first.metadata.rejected
    assert mock_server.stats().calls == 2 * lost
    assert second.metadata.status is Verdict.COMPLETE


def test_a_dead_endpoint_fails_the_flow_with_the_dominant_cause_and_few_calls(
    tmp_path: Path, mock_server: MockServer
) -> None:
    mock_server.become(require_key="right", latency_ms=5)
    with pytest.raises(
        EarlyShutdownError, match=r"stopped early: 401 from http://127.0.0.1:\d+/v1 on \d+ of \d+ cells"
    ):
        build(feedback(mock_server.url), tmp_path / "d", 5_000, shutdown_error_window=20)
    assert mock_server.stats().calls <= 8 + 2 * 20
    metadata = ParquetRowGroupSink(path=tmp_path / "d").reader().metadata()
    assert metadata is not None
    assert metadata.status is Verdict.FAILED
    assert {outcome.outcome for outcome in metadata.row_groups} == {Outcome.ABORTED}


def _twice_and_thrice(frame: pd.DataFrame) -> pd.DataFrame | Resized:
    """Each glad row three times, each sad one not at all, the others once: parents are told, out of order."""
    times = {"glad": 3, "sad": 0}
    parents = [at for at, mood in enumerate(frame["mood"]) for _ in range(times.get(mood, 1))][::-1]
    return Resized([f"{frame['number'][parent]}#" for parent in parents], parents=parents)


def _resizing(url: str, **column: Any) -> dict[str, Any]:
    """A full column between two model columns: the first is asked for the rows before, the last for those after."""
    config = feedback(url)
    own = {
        "name": "part",
        "column_type": "custom",
        "generator_function": _twice_and_thrice,
        "generation_strategy": "full_column",
        "input_columns": ["mood", "number", "text"],
        **column,
    }
    config["columns"].insert(4, own)
    config["columns"][5]["prompt"] = "Reply to: {{ text }}, {{ part }}"
    return config


def test_a_custom_column_that_declares_it_changes_the_number_of_rows_and_each_keeps_what_it_came_from(
    tmp_path: Path, mock_server: MockServer
) -> None:
    """Values of its parent in every column; the n-th row of one parent is its n-th copy, in the trace and the journal."""
    mock_server.become(log_requests=True)
    config = _resizing(mock_server.url, allow_resize=True)
    plain = build(samplers(), tmp_path / "plain", 24, row_group_size=8).load_dataset()
    result = build(config, tmp_path / "d", 24, row_group_size=8, trace=True)
    frame = result.load_dataset()
    groups = [plain.iloc[start : start + 8] for start in (0, 8, 16)]
    times = {"glad": 3, "sad": 0, "0E8": 1}
    parents = [number for group in groups for number in _repeated(group, times)]
    assert list(frame["number"]) == parents
    assert list(frame["part"]) == [f"{number}#" for number in parents]
    known = plain.set_index("number")
    assert list(frame["title"]) == list(known.loc[parents, "title"])
    assert frame.groupby("number")["text"].nunique().max() == 1
    metadata = result.metadata
    assert (metadata.status, metadata.actual_num_records, metadata.rejected) == (Verdict.COMPLETE, len(parents), 0)
    prompts = [request.prompt for request in mock_server.requests()]
    assert sum(prompt.startswith("Reply") for prompt in prompts) == len(parents)
    assert len(prompts) == 24 + len(parents)

    rows = {number: at for at, number in enumerate(plain["number"])}
    copies = Counter[int]()
    expected = set()
    for number in parents:
        expected.add((rows[number], copies[rows[number]]))
        copies[rows[number]] += 1
    trace = ParquetRowGroupSink(path=tmp_path / "d").reader().traces().to_pandas()
    replies = trace[trace["column"] == "reply"]
    assert set(zip(replies["row_index"], replies["copy"], strict=True)) == expected

    mock_server.become()
    again = build(_resizing(mock_server.url, allow_resize=True), tmp_path / "d", 24, row_group_size=8, trace=True)
    assert mock_server.stats().calls == 0
    pd.testing.assert_frame_equal(again.load_dataset(), frame)


def _repeated(group: pd.DataFrame, times: dict[str, int]) -> list[str]:
    return [row.number for row in group.itertuples() for _ in range(times[row.mood])][::-1]


def test_a_custom_column_that_does_not_declare_it_may_not_change_the_number_of_rows(
    tmp_path: Path, mock_server: MockServer
) -> None:
    with pytest.raises(ProcessorError, match=r"'part'.*returned Resized and does not declare allow_resize: true"):
        build(_resizing(mock_server.url), tmp_path / "d", 24, row_group_size=8)
    metadata = ParquetRowGroupSink(path=tmp_path / "d").reader().metadata()
    assert metadata is not None
    assert (metadata.status, metadata.actual_num_records) == (Verdict.FAILED, 0)


def test_outcomes_are_told_as_they_happen(tmp_path: Path) -> None:
    seen: list[RowGroupOutcome] = []
    build_dataset(
        samplers(),
        num_records=6,
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        run=RunConfig(row_group_size=2),
        on_row_group_complete=seen.append,
    )
    assert sorted(outcome.index for outcome in seen) == [0, 1, 2]
    assert {outcome.outcome for outcome in seen} == {Outcome.COMPLETED}


def test_a_callback_that_raises_fails_the_run(tmp_path: Path) -> None:
    def broken(outcome: RowGroupOutcome) -> None:
        raise RuntimeError("no thanks")

    with pytest.raises(ProcessorError, match=r"on_row_group_complete failed for row group .*no thanks"):
        build_dataset(
            samplers(),
            num_records=6,
            sink=ParquetRowGroupSink(path=tmp_path / "d"),
            run=RunConfig(row_group_size=2),
            on_row_group_complete=broken,
        )


def test_a_wrong_config_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = feedback()
    config["columns"][3]["prompt"] = "{{ titel }}"
    with pytest.raises(
        ConfigError, match=r"columns\[3\].prompt: column 'titel' is not defined; did you mean 'title'\?"
    ):
        build(config, tmp_path / "d", 5)
    assert not (tmp_path / "d").exists()


def test_a_preview_writes_nothing_and_returns_rows_traces_and_timings(tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    preview = preview_dataset(feedback(), num_records=4, run=RunConfig(seed=7))
    assert len(preview.dataset) == 4
    assert len(preview.task_traces) == 4 * 2 + 1  # two model columns by cell, one expression as a whole
    assert set(preview.metadata.stage_seconds) >= {"seed", "generate", "commit"}
    assert set(tmp_path.iterdir()) == before


def test_a_preview_makes_the_rows_of_the_build(tmp_path: Path) -> None:
    preview = preview_dataset(feedback(), num_records=4, run=RunConfig(seed=7))
    built = build(feedback(), tmp_path / "d", 9).load_dataset()
    pd.testing.assert_frame_equal(preview.dataset, built.head(4))


def test_the_example_runs_offline_from_its_file(tmp_path: Path) -> None:
    result = build_dataset(
        str(AIRPORTS),
        num_records=10,
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        run=RunConfig(seed=1),
        endpoints=[OfflineModel(provider="endpoint")],
    )
    frame = result.load_dataset()
    assert len(frame) == 10
    assert frame["arrival"].str.contains("offline").all()
    assert {"stars", "sentiment", "topics"} == set(frame["rating"][0])


def test_a_second_run_shows_its_first_row_groups_as_cached(tmp_path: Path) -> None:
    """Three stand for all: each is a task run that does nothing."""
    build(samplers(), tmp_path / "d", 8, row_group_size=2)
    state: State[BuildResult] = build_dataset(
        samplers(),
        num_records=8,
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        run=RunConfig(row_group_size=2, seed=7),
        return_state=True,
    )
    names = task_run_states(state, count=3)
    assert names == {f"process-row-group-0000{index}": "Cached" for index in range(3)}


def test_a_dataset_without_models_has_no_journal(tmp_path: Path) -> None:
    build(samplers(), tmp_path / "d", 2)
    assert not list((tmp_path / "d").glob("journal*"))


def test_the_ui_names_row_groups_and_stages(tmp_path: Path) -> None:
    state: State[BuildResult] = build_dataset(
        feedback(),
        num_records=4,
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        run=RunConfig(row_group_size=4),
        return_state=True,
    )
    assert set(task_run_states(state, count=4)) == {
        "process-row-group-00000",
        "rg-00000/seed",
        "rg-00000/generate",
        "rg-00000/commit",
    }


def test_a_run_with_inline_stages_has_one_task_run_per_row_group(tmp_path: Path) -> None:
    state: State[BuildResult] = build_dataset(
        samplers(),
        num_records=4,
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        run=RunConfig(row_group_size=2, stages="inline"),
        return_state=True,
    )
    assert set(task_run_states(state, count=2)) == {"process-row-group-00000", "process-row-group-00001"}


@pytest.mark.parametrize(
    ("rows", "column", "stages"),
    [
        (250_000, {"column_type": "sampler", "sampler_type": "bernoulli", "params": {"p": 0.5}}, 0),
        (249_999, {"column_type": "sampler", "sampler_type": "bernoulli", "params": {"p": 0.5}}, 3),
        (250_000, {"column_type": "sql", "expr": "1"}, 0),
    ],
)
def test_stages_of_many_quick_rows_are_no_task_runs(
    tmp_path: Path, rows: int, column: dict[str, Any], stages: int
) -> None:
    """A task run of a stage takes Prefect's server as long as the stage itself, where rows are only drawn."""
    state: State[BuildResult] = build_dataset(
        {"columns": [{"name": "one", **column}]},
        num_records=rows,
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        return_state=True,
    )
    assert len(task_run_states(state, count=1 + stages)) == 1 + stages


def test_a_gate_on_unique_values_sees_all_row_groups(tmp_path: Path) -> None:
    """Six rows in row groups of one: no row group repeats a value, the dataset does."""
    config = samplers(
        columns=[{"name": "one", "column_type": "expression", "expr": "same"}],
        checks=[{"name": "all differ", "check_type": "unique", "column": "one", "max_share": 0.1}],
    )
    result = build(config, tmp_path / "d", 6, row_group_size=1)
    (check,) = result.metadata.checks
    assert not check.passed
    assert check.message == "5 of 6 rows fail 'all differ' (83.3 %)"
    assert result.metadata.status is Verdict.DEGRADED


def test_an_in_memory_sink_is_a_block_like_the_other() -> None:
    assert InMemoryRowGroupSink().location == "memory"
