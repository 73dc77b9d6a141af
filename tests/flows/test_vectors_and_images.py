"""Embedding and image columns through the flow, over HTTP: files, journal, accounting."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import ResumeMode, RunConfig
from prefect_datagen.engine.errors import EarlyShutdownError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.preview import preview_dataset
from prefect_datagen.flows.results import BuildResult
from tests.flows.configs import postcards
from tests.mock_server import MockServer

pytestmark = pytest.mark.usefixtures("prefect_api")

PNG = b"\x89PNG\r\n\x1a\n"


def build(config: dict[str, Any], path: Path, rows: int, **run: Any) -> BuildResult:
    settings = RunConfig.model_validate({"seed": 7, "row_group_size": 4, **run})
    return build_dataset(config, num_records=rows, sink=ParquetRowGroupSink(path=path), run=settings)


def test_vectors_are_floats_and_images_are_files_beside_the_data(tmp_path: Path, mock_server: MockServer) -> None:
    result = build(postcards(mock_server.url), tmp_path / "d", 10)
    frame = result.load_dataset()
    assert result.dataset().schema.field("vector").type == pa.list_(pa.float32())
    assert [len(vector) for vector in frame["vector"]] == [6] * 10
    assert list(frame["photo"]) == [f"artifacts/photo/{row:08d}.png" for row in range(10)]
    images = [(tmp_path / "d" / path).read_bytes() for path in frame["photo"]]
    assert all(image.startswith(PNG) for image in images)
    assert len(set(images)) == 10
    assert len(list((tmp_path / "d" / "artifacts" / "photo").iterdir())) == 10


def test_calls_tokens_and_cost_are_counted_as_for_chat(tmp_path: Path, mock_server: MockServer) -> None:
    result = build(postcards(mock_server.url), tmp_path / "d", 10)
    stats, usage = mock_server.stats(), result.metadata.usage
    assert (stats.calls, stats.repeated_requests) == (20, 0)
    assert (usage["embedder"].answers, usage["painter"].answers) == (10, 10)
    assert usage["embedder"].input_tokens + usage["painter"].input_tokens == stats.input_tokens
    assert usage["embedder"].cost == pytest.approx(usage["embedder"].input_tokens / 1e6)


def test_failed_calls_are_retried_and_limits_hold(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(errors=["500:0.2", "429:0.1"], retry_after=0, latency_ms=2)
    result = build(postcards(mock_server.url), tmp_path / "d", 12)
    stats = mock_server.stats()
    assert len(result.load_dataset()) == 12
    assert stats.repeated_requests == 0
    assert stats.calls > 24
    assert stats.max_in_flight <= 3 + 4


def test_an_answer_in_the_journal_is_not_paid_for_again(tmp_path: Path, mock_server: MockServer) -> None:
    config = postcards(mock_server.url)
    before = build(config, tmp_path / "d", 6).load_dataset()
    mock_server.become()
    config["columns"].append({"name": "copy", "column_type": "expression", "expr": "{{ id }}"})
    result = build(config, tmp_path / "d", 6, resume=ResumeMode.IF_POSSIBLE)
    after = result.load_dataset()
    assert mock_server.stats().calls == 0
    assert [list(vector) for vector in after["vector"]] == [list(vector) for vector in before["vector"]]
    assert list(after["photo"]) == list(before["photo"])
    assert all((tmp_path / "d" / path).read_bytes().startswith(PNG) for path in after["photo"])


def test_a_preview_holds_images_as_base64_and_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    preview = preview_dataset(postcards(None), num_records=3)
    assert all(base64.b64decode(text).startswith(PNG) for text in preview.dataset["photo"])
    assert len(preview.dataset["vector"][0]) == 6
    assert list(tmp_path.iterdir()) == []


def test_the_offline_model_and_the_server_give_the_same(tmp_path: Path, mock_server: MockServer) -> None:
    run = RunConfig(seed=7)
    offline = preview_dataset(postcards(None), num_records=3, run=run).dataset
    served = preview_dataset(postcards(mock_server.url), num_records=3, run=run).dataset
    assert [list(vector) for vector in offline["vector"]] == [list(vector) for vector in served["vector"]]
    assert list(offline["photo"]) == list(served["photo"])


def test_unusable_answers_reject_their_rows(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(errors=["html:1"])
    with pytest.raises(EarlyShutdownError, match="unusable answer"):
        build(postcards(mock_server.url), tmp_path / "d", 30)
