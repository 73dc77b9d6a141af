"""What must differ from Data Designer, each shown by a whole build: text, empty answers and renderings, seeds, verdicts,
aliases."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.results import BuildResult
from prefect_datagen.storage import DatasetReader
from tests.flows.configs import feedback
from tests.mock_server import MockServer

pytestmark = pytest.mark.usefixtures("prefect_api")

LOOK_ALIKES = ["0E8", "00M", "1.10", "null", "true", "None", "NaN", "007", "1_000", "inf", "2024-01-01", " 1 "]


def build(config: dict[str, Any], path: Path, rows: int, **run: Any) -> BuildResult:
    settings = RunConfig.model_validate({"seed": 7, "row_group_size": 5, "stages": "inline", **run})
    return build_dataset(config, num_records=rows, sink=ParquetRowGroupSink(path=path), run=settings)


def category(name: str, values: list[str]) -> dict[str, Any]:
    return {"name": name, "column_type": "sampler", "sampler_type": "category", "params": {"values": values}}


def expression(name: str, expr: str) -> dict[str, Any]:
    return {"name": name, "column_type": "expression", "expr": expr}


def write(name: str, prompt: str, alias: str = "writer") -> dict[str, Any]:
    return {"name": name, "column_type": "llm-text", "model_alias": alias, "prompt": prompt}


def seeded(folder: Path, codes: list[str], strategy: str, *columns: dict[str, Any]) -> dict[str, Any]:
    """A config over a CSV file of one column."""
    (folder / "codes.csv").write_text("code\n" + "".join(f'"{code}"\n' for code in codes))
    source = {"seed_type": "local", "path": str(folder / "codes.csv")}
    return {
        "seed_config": {"source": source, "sampling_strategy": strategy},
        "columns": [{"name": "code", "column_type": "seed-dataset"}, *columns],
    }


def test_text_that_looks_like_something_else_stays_text_everywhere(tmp_path: Path, mock_server: MockServer) -> None:
    """Out of a seed file, through a template and a prompt, back from the model, and on disk."""
    mock_server.become(canned=[{"prompt_regex": "code", "message": {"content": "0E8"}}], log_requests=True)
    columns = [
        category("drawn", LOOK_ALIKES),
        expression("copy", "{{ code }}"),
        write("text", "code [{{ code }}|{{ copy }}|{{ drawn }}]"),
        expression("both", "{{ text }}|{{ drawn }}"),
    ]
    config = feedback(mock_server.url) | seeded(tmp_path, LOOK_ALIKES, "ordered", *columns)
    frame = build(config, tmp_path / "d", len(LOOK_ALIKES)).load_dataset()
    assert list(frame["code"]) == list(frame["copy"]) == LOOK_ALIKES
    assert set(frame["text"]) == {"0E8"}
    assert set(frame["drawn"]) <= set(LOOK_ALIKES)
    assert list(frame["both"]) == [f"0E8|{drawn}" for drawn in frame["drawn"]]
    sent = {request.prompt for request in mock_server.requests()}
    assert sent == {f"code [{code}|{code}|{drawn}]" for code, drawn in zip(frame["code"], frame["drawn"], strict=True)}


def test_a_200_without_content_is_an_error_and_no_cell(tmp_path: Path, mock_server: MockServer) -> None:
    """The rows that were answered so are rejected by that reason; no cell of the dataset is empty."""
    mock_server.become(fail_prompt_regex="about sad", fail_prompt_code="empty")
    result = build(feedback(mock_server.url), tmp_path / "d", 20, on_shortfall="warn", disable_early_shutdown=True)
    frame = result.load_dataset()
    assert 0 < len(frame) < 20
    assert (frame["text"].str.len() > 0).all()
    assert "sad" not in set(frame["mood"])
    assert result.metadata.rejected_by_reason == {"unusable answer": 20 - len(frame)}
    assert result.metadata.usage["writer"].errors >= 20 - len(frame)


def test_an_empty_rendering_keeps_its_row(tmp_path: Path) -> None:
    columns = [
        category("kind", ["some", "none"]),
        expression("note", "{% if kind == 'some' %}text{% endif %}"),
        write("text", "{% if kind == 'some' %}Say {{ note }}{% else %}Say nothing{% endif %}"),
        expression("after", "<{{ note }}>"),
    ]
    result = build(feedback(columns=columns), tmp_path / "d", 20)
    frame = result.load_dataset()
    assert (len(frame), result.metadata.rejected) == (20, 0)
    assert set(zip(frame["kind"], frame["note"], frame["after"], strict=True)) == {
        ("some", "text", "<text>"),
        ("none", "", "<>"),
    }


def test_a_datetime_is_never_outside_its_range(tmp_path: Path) -> None:
    """In every unit, also where the range begins and ends between two steps of it."""
    start, end = datetime(2023, 7, 14, 9, 30, 15), datetime(2026, 2, 3, 4, 5, 6)
    columns = [
        {
            "name": unit,
            "column_type": "sampler",
            "sampler_type": "datetime",
            "params": {"start": start.isoformat(), "end": end.isoformat(), "unit": unit},
        }
        for unit in ("Y", "M", "D", "h", "m", "s")
    ]
    frame = build({"columns": columns}, tmp_path / "d", 2_000, row_group_size=1_000).load_dataset()
    assert (frame.min() >= start).all()
    assert (frame.max() < end).all()


def test_a_shuffled_seed_is_the_same_over_a_resume(tmp_path: Path) -> None:
    """Extended in three runs, over the end of the seed data, it takes the rows that one run takes."""
    codes = [f"{number:03}" for number in range(12)]
    config = seeded(tmp_path, codes, "shuffle")
    for rows in (10, 15, 24):
        build(config, tmp_path / "pieces", rows)
    pieces = DatasetReader(tmp_path / "pieces").load()
    whole = build(config, tmp_path / "whole", 24).load_dataset()
    pd.testing.assert_frame_equal(pieces, whole)
    taken = list(whole["code"])
    assert sorted(taken[:12]) == sorted(taken[12:]) == codes
    assert codes != taken[:12] != taken[12:]


def low_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"is_valid": frame["number"] < "8", "of": frame["number"]})


def test_each_row_and_column_has_its_own_verdict_whatever_was_lost_before(
    tmp_path: Path, mock_server: MockServer
) -> None:
    """Rows that were rejected or skipped before a validator move no verdict to another row or column."""
    good, bad = "SELECT 1", "SELECT FROM WHERE"
    mock_server.become(fail_prompt_regex="about lost", fail_prompt_code="400")
    check = {
        "column_type": "validation",
        "validator_type": "code",
        "validator_params": {"code_lang": "sql:ansi"},
        "target_columns": ["first", "second"],
    }
    local = {
        "column_type": "validation",
        "validator_type": "local_callable",
        "validator_params": {"validation_function": low_numbers},
        "target_columns": ["text", "number"],
        "batch_size": 3,
    }
    config = feedback(
        mock_server.url,
        columns=[
            {"name": "number", "column_type": "sampler", "sampler_type": "uuid", "params": {}},
            category("fate", ["kept", "lost", "skipped"]),
            category("first", [good, bad]),
            category("second", [good, bad]),
            write("text", "Write about {{ fate }} {{ number }}."),
            {"name": "verdict", "skip": {"when": "{{ fate == 'skipped' }}"}, **check},
            {"name": "late", **check, "target_columns": ["second", "first"]},
            {"name": "own", "skip": {"when": "{{ fate == 'skipped' }}"}, **local},
        ],
    )
    run = {"on_shortfall": "warn", "disable_early_shutdown": True, "row_group_size": 13}
    frame = build(config, tmp_path / "d", 40, **run).load_dataset()
    assert set(frame["fate"]) == {"kept", "skipped"}
    assert len(set(zip(frame["first"], frame["second"], strict=True))) == 4
    for row in frame.to_dict("records"):
        first, second = row["first"] == good, row["second"] == good
        late = row["late"]
        assert (late["is_valid"], late["first"]["is_valid"], late["second"]["is_valid"]) == (
            first and second,
            first,
            second,
        )
        if row["fate"] == "skipped":
            assert row["verdict"] is None
            assert row["own"] is None
            continue
        verdict = row["verdict"]
        assert (verdict["first"]["is_valid"], verdict["second"]["is_valid"]) == (first, second)
        assert row["own"] == {"is_valid": row["number"] < "8", "details": f'{{"of":"{row["number"]}"}}'}


def test_two_aliases_of_one_model_keep_their_own_limits_and_usage(tmp_path: Path, mock_server: MockServer) -> None:
    """Of their answers and their calls at once; what the endpoint takes of the model is found out by both together."""
    mock_server.become(latency_ms=20, log_requests=True)
    ceilings = {"few": 2, "many": 6}
    config = feedback(
        mock_server.url,
        columns=[
            {"name": "id", "column_type": "sampler", "sampler_type": "uuid", "params": {}},
            write("a", "few {{ id }}", "few"),
            write("b", "many {{ id }}", "many"),
            write("c", "many again {{ id }}", "many"),
        ],
        model_configs=[
            {
                "alias": alias,
                "model": "twice",
                "provider": "endpoint",
                "inference_parameters": {"max_parallel_requests": most},
            }
            for alias, most in ceilings.items()
        ],
    )
    usage = build(config, tmp_path / "d", 40, row_group_size=20).metadata.usage
    stats = mock_server.stats()
    assert {alias: usage[alias].answers for alias in ceilings} == {"few": 40, "many": 80}
    assert usage["few"].input_tokens + usage["many"].input_tokens == stats.input_tokens
    assert usage["few"].output_tokens + usage["many"].output_tokens == stats.output_tokens
    requests = mock_server.requests()
    assert {request.model for request in requests} == {"twice"}
    most = {alias: most_at_once([each for each in requests if each.prompt.startswith(alias)]) for alias in ceilings}
    assert most["few"] <= 2 < most["many"] <= 6


def most_at_once(requests: list[Any]) -> int:
    """Most requests in flight: arrivals and finishes are numbered together."""
    changes = sorted([(each.arrived, 1) for each in requests] + [(each.finished, -1) for each in requests])
    in_flight = most = 0
    for _, change in changes:
        in_flight += change
        most = max(most, in_flight)
    return most
