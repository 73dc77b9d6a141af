"""Every example runs against a model server, loses no row, and shows what it says it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlglot
import yaml

from prefect_datagen.blocks import ModelEndpoint, OfflineModel, ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.outcomes import Verdict
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.chain import chain_datasets
from prefect_datagen.storage.reader import DatasetReader
from tests.mock_server import MockServer

pytestmark = pytest.mark.usefixtures("prefect_api")

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = 12


def rows_of(example: str, folder: Path, server: MockServer) -> pd.DataFrame:
    """Build an example into a dataset of `ROWS` rows."""
    result = build_dataset(
        EXAMPLES / example / "dataset.yaml",
        num_records=ROWS,
        sink=ParquetRowGroupSink(path=folder / "d"),
        run=RunConfig(seed=5, row_group_size=5),
        endpoints=[ModelEndpoint(provider="endpoint", base_url=server.url)],
    )
    assert result.metadata.status is Verdict.COMPLETE, result.metadata.reasons
    assert result.metadata.rejected == 0
    return result.load_dataset()


def test_text_to_sql(tmp_path: Path, mock_server: MockServer) -> None:
    frame = rows_of("text-to-sql", tmp_path, mock_server)
    assert len(frame) == ROWS
    assert frame.valid.all()
    for query in frame["query"]:
        assert sqlglot.parse_one(query, dialect="postgres").find(sqlglot.exp.Select)


def test_product_qa(tmp_path: Path, mock_server: MockServer) -> None:
    frame = rows_of("product-qa", tmp_path, mock_server)
    assert "customer" not in frame
    assert list(frame.sku[:3]) == ["0E8", "007", "1.10"]
    assert set(frame.faithful) <= {0, 1, 2}
    assert {verdict["tone"]["score"] for verdict in frame.verdict} <= {"rude", "plain", "warm"}
    assert mock_server.stats().calls == 3 * ROWS


def test_orders(tmp_path: Path, mock_server: MockServer) -> None:
    frame = rows_of("orders", tmp_path, mock_server)
    assert mock_server.stats().calls == 0
    assert (frame.cost < frame.price).all()
    assert (frame.delivered > frame.ordered).all()
    assert frame.total.equals((frame.price * frame.quantity).round(2))
    assert frame.order_id.is_unique


def test_postcards(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(log_requests=True)
    frame = rows_of("postcards", tmp_path, mock_server)
    assert all((tmp_path / "d" / path).read_bytes().startswith(b"\x89PNG") for path in frame.picture)
    seen = [request.body for request in mock_server.requests() if request.path == "/v1/chat/completions"]
    assert len(seen) == ROWS
    assert all(
        body["messages"][-1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,") for body in seen
    )


def test_semantic_search(tmp_path: Path, mock_server: MockServer) -> None:
    frame = rows_of("semantic-search", tmp_path, mock_server)
    assert [len(vector) for vector in frame.passage_vector] == [64] * ROWS
    assert [len(vectors) for vectors in frame.question_vectors] == [len(texts) for texts in frame.questions]


def test_code_tasks(tmp_path: Path, mock_server: MockServer) -> None:
    frame = rows_of("code-tasks", tmp_path, mock_server)
    assert 0 < len(frame) <= ROWS
    assert frame.score.between(0, 10).all()
    for code in frame.solution:
        compile(code, "solution.py", "exec")


def test_support_tickets(tmp_path: Path, mock_server: MockServer) -> None:
    frame = rows_of("support-tickets", tmp_path, mock_server)
    unhappy = frame.rating <= 2
    assert 0 < unhappy.sum() < len(frame)
    assert (frame.reply.notna() == unhappy).all()
    assert (frame.escalation.notna() == unhappy).all()
    assert ((frame.status == "open") == unhappy).all()
    assert "customer" not in frame
    assert mock_server.stats().calls == ROWS + 2 * unhappy.sum()


def test_dialogue(tmp_path: Path, mock_server: MockServer) -> None:
    chain_datasets(
        EXAMPLES / "dialogue" / "workflow.yaml",
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        run=RunConfig(seed=5),
        endpoints=[ModelEndpoint(provider="endpoint", base_url=mock_server.url)],
    )
    dialogues = DatasetReader(str(tmp_path / "d" / "dialogues")).dataset().to_table().to_pylist()
    openings = DatasetReader(str(tmp_path / "d" / "openings")).dataset().to_table().to_pylist()
    assert len(dialogues) == len(openings) == 20
    for row, first in zip(dialogues, openings, strict=True):
        assert [message["role"] for message in row["messages"]] == ["user", "assistant", "user", "assistant"]
        assert row["messages"][0]["content"] == first["opening"]
    assert mock_server.stats().calls == 4 * 20


@pytest.mark.parametrize("example", sorted(path.parent.name for path in EXAMPLES.glob("*/dataset.yaml")))
def test_every_example_runs_offline_without_a_key(example: str, tmp_path: Path) -> None:
    result = build_dataset(
        EXAMPLES / example / "dataset.yaml",
        num_records=3,
        sink=ParquetRowGroupSink(path=tmp_path / "d"),
        run=RunConfig(seed=5),
        endpoints=[OfflineModel(provider="endpoint")],
    )
    assert result.metadata.rejected == 0


def test_every_example_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    folders = [path.name for path in EXAMPLES.iterdir() if path.is_dir()]
    assert len(folders) >= 8
    assert [name for name in folders if f"]({name}/" not in listed] == []
    texts: list[Any] = [yaml.safe_load(path.read_text()) for path in EXAMPLES.glob("*/*.yaml")]
    assert all(isinstance(text, dict) for text in texts)
