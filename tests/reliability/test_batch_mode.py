"""Whole builds with a model in batch mode: a real kill -9 in the middle, and what is paid, kept and told."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.columns.custom import custom_column_generator
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError, EarlyShutdownError, ModelError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.preview import preview_dataset
from prefect_datagen.flows.progress import ProgressSnapshot, progress_to
from prefect_datagen.storage import DatasetReader
from prefect_datagen.storage.journal import Journal
from tests.flows.configs import feedback, postcards
from tests.mock_server import MockServer
from tests.reliability.child_builds import Child, ForkServer

pytestmark = pytest.mark.usefixtures("prefect_api")

ROWS = 40
RUN: dict[str, Any] = {"seed": 7, "row_group_size": 10, "stages": "inline", "progress_interval": 0.1}
QUICK = {"linger_seconds": 0.3, "poll_seconds": 0.05, "longest_poll_seconds": 0.2}
WHOLE = {"max_requests": ROWS, "linger_seconds": 60}
"""A batch goes out when it has a column's cells of all rows, however slow the machine is."""


def batched(url: str, **batch: Any) -> dict[str, Any]:
    """`feedback` with its model in batch mode: two model columns, one of which reads the other."""
    config = feedback(url)
    model = config["model_configs"][0] | {"mode": "batch", "batch": QUICK | batch, "price": {"input": 10, "output": 20}}
    return config | {"model_configs": [model]}


def build(config: dict[str, Any], path: Path, rows: int = ROWS, **run: Any) -> Any:
    run_config = RunConfig.model_validate({**RUN, **run})
    return build_dataset(config, num_records=rows, sink=ParquetRowGroupSink(path=path), run=run_config)


def wait_for_batches(server: MockServer, number: int, child: Child) -> None:
    """So many batches were created. Where they were not, what the child printed says why."""
    try:
        server.wait_until(lambda stats: stats.batches >= number, timeout=120)
    except TimeoutError as error:
        raise AssertionError(f"{error}; the child printed: {child.output}") from error


def test_rows_usage_and_cost_are_those_of_live_calls_at_half_the_price(mock_server: MockServer, tmp_path: Path) -> None:
    """A column is one batch over all row groups: rows of a whole batch are in flight by default."""
    snapshots: list[ProgressSnapshot] = []
    with progress_to(snapshots.append):
        result = build(batched(mock_server.url, **WHOLE), tmp_path / "batch")
    stats = mock_server.stats()
    assert (stats.batches, stats.batched_requests) == (2, 2 * ROWS)
    last = snapshots[-1].batches["writer"]
    assert (last.submitted, last.finished) == (2 * ROWS, 2 * ROWS)
    live = batched(mock_server.url)
    live["model_configs"][0] |= {"mode": "live"}
    expected = build(live, tmp_path / "live")
    pd.testing.assert_frame_equal(result.load_dataset(), expected.load_dataset())
    used, paid_live = result.metadata.usage["writer"], expected.metadata.usage["writer"]
    assert (used.answers, used.input_tokens) == (paid_live.answers, paid_live.input_tokens)
    assert used.cost == pytest.approx(paid_live.cost / 2)


@pytest.mark.parametrize("moment", ["first column", "second column"])
def test_after_a_kill_the_running_batches_are_taken_up(
    mock_server: MockServer, tmp_path: Path, fork_server: ForkServer, moment: str
) -> None:
    """Nothing is paid for twice; what came back before the kill is replayed from the journal."""
    config, path = batched(mock_server.url, **WHOLE), tmp_path / "d"
    ends = ["held"] if moment == "first column" else ["completed", "held"]
    mock_server.become(batch_ends=ends)
    child = fork_server.build(config, path, ROWS, **RUN)
    wait_for_batches(mock_server, len(ends), child)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    mock_server.control(batch_ends=[])
    result = build(config, path)
    stats = mock_server.stats()
    assert (stats.batches, stats.batched_requests, stats.repeated_requests) == (2, 2 * ROWS, 0)
    used = result.metadata.usage["writer"]
    assert (used.answers, used.output_tokens) == (2 * ROWS, stats.output_tokens)
    assert used.cost == pytest.approx((stats.input_tokens * 5 + stats.output_tokens * 10) / 1e6)
    pd.testing.assert_frame_equal(DatasetReader(path).load(), build(config, tmp_path / "whole").load_dataset())
    with Journal.open(path / "journal.sqlite") as journal:
        assert journal.batches(mock_server.url) == []


def test_an_interrupted_run_leaves_its_batches_to_the_next(
    mock_server: MockServer, tmp_path: Path, fork_server: ForkServer
) -> None:
    """Ctrl-C ends it at once, whatever the batch still takes."""
    config, path = batched(mock_server.url, **WHOLE), tmp_path / "d"
    mock_server.become(hold=True)
    child = fork_server.build(config, path, ROWS, **RUN)
    wait_for_batches(mock_server, 1, child)
    child.send(signal.SIGINT)
    child.wait()
    metadata = DatasetReader(path).metadata()
    assert metadata is not None
    assert metadata.status.value == "interrupted"
    mock_server.control(hold=False)
    assert len(build(config, path).load_dataset()) == ROWS
    assert mock_server.stats().repeated_requests == 0
    assert mock_server.stats().batches == 2


def test_what_failed_or_expired_is_tried_again_and_no_clock_runs_meanwhile(
    mock_server: MockServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch may take longer than every limit that live calls have: the whole call, the deadline, slow calls."""
    config = batched(mock_server.url)
    config["model_configs"][0]["inference_parameters"]["timeout"] = 0.1
    mock_server.become(batch_seconds=1.2, batch_ends=["expired"], errors=["500:0.1"])
    result = build(config, tmp_path / "d", retry_deadline_seconds=0.5, slow_call_seconds=0.2)
    assert len(result.load_dataset()) == ROWS
    assert result.metadata.usage["writer"].errors > 0
    assert not [record.message for record in caplog.records if "waiting for" in record.message]
    still = [record.message for record in caplog.records if "nothing finished" in record.message]
    assert all("in flight 0" in message for message in still)  # between two batches cells wait to be due


def test_requests_that_fail_for_good_reject_their_rows(mock_server: MockServer, tmp_path: Path) -> None:
    mock_server.become(fail_prompt_regex="Write about sad", fail_prompt_code="400")
    result = build(batched(mock_server.url), tmp_path / "d", on_shortfall="warn")
    assert result.metadata.rejected_by_reason == {"400": result.metadata.rejected}
    assert set(result.load_dataset()["mood"]) == {"glad", "0E8"}


def test_a_model_that_fails_at_everything_ends_the_run(mock_server: MockServer, tmp_path: Path) -> None:
    mock_server.become(errors=["400"])
    with pytest.raises(EarlyShutdownError, match="400"):
        build(batched(mock_server.url, **WHOLE), tmp_path / "d")
    assert mock_server.stats().batches == 1


def test_an_endpoint_without_batches_says_so(tmp_path: Path, mock_server: MockServer) -> None:
    config = batched(mock_server.url.replace("/v1", "/elsewhere/v1"))
    with pytest.raises(ModelError, match="has the endpoint a Batch API"):
        build(config, tmp_path / "d")


def test_a_preview_asks_live(mock_server: MockServer) -> None:
    preview = preview_dataset(batched(mock_server.url), num_records=3, run=RunConfig(seed=1))
    assert len(preview.dataset) == 3
    assert mock_server.stats().batches == 0


@pytest.mark.parametrize("runner", ["processes", "dask", "ray"])
def test_other_runners_than_threads_are_refused_before_anything_is_made(
    mock_server: MockServer, tmp_path: Path, runner: str
) -> None:
    message = rf"model 'writer': `mode: batch` .*use `task_runner: threads`, not '{runner}', or `mode: live`"
    with pytest.raises(ConfigError, match=message):
        build(batched(mock_server.url), tmp_path / "d", task_runner=runner)
    assert mock_server.stats().calls == 0
    assert not (tmp_path / "d").exists()


def test_batch_mode_needs_a_journal(mock_server: MockServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="journal"):
        build(batched(mock_server.url), tmp_path / "d", journal=False)
    assert mock_server.stats().batches == 0


def test_a_change_of_mode_keeps_the_dataset_and_its_answers(mock_server: MockServer, tmp_path: Path) -> None:
    config = batched(mock_server.url)
    build(config, tmp_path / "d", 10)
    config["model_configs"][0] |= {"mode": "live"}
    assert len(build(config, tmp_path / "d", 20).load_dataset()) == 20
    stats = mock_server.stats()
    assert (stats.batched_requests, stats.calls, stats.repeated_requests) == (20, 40, 0)


def test_row_groups_in_flight_make_a_full_batch() -> None:
    run = RunConfig(row_group_size=1000)
    assert (run.row_groups_at_once(batched=False), run.row_groups_at_once(batched=True)) == (4, 50)
    assert RunConfig(row_group_size=10).row_groups_at_once(batched=True) == 256
    assert RunConfig(max_concurrent_row_groups=2).row_groups_at_once(batched=True) == 2


def test_several_endpoints_or_another_protocol_are_refused(mock_server: MockServer) -> None:
    from prefect_datagen.config.dataset import DatasetConfig

    config = batched(mock_server.url)
    model = dict(config["model_configs"][0])
    del model["provider"]
    model["endpoints"] = [{"provider": "endpoint"}, {"provider": "offline"}]
    with pytest.raises(ConfigError, match="takes one endpoint"):
        DatasetConfig.load(config | {"model_configs": [model]})


def test_vectors_and_images_go_in_batches(mock_server: MockServer, tmp_path: Path) -> None:
    """One batch for each; the images are files beside the dataset, as those of live calls are."""
    config = postcards(mock_server.url)
    batch = QUICK | WHOLE | {"max_requests": 12}
    config["model_configs"] = [model | {"mode": "batch", "batch": batch} for model in config["model_configs"]]
    frame = build(config, tmp_path / "batch", 12, row_group_size=4).load_dataset()
    stats = mock_server.stats()
    assert (stats.batches, stats.batched_requests) == (2, 24)
    live = build(postcards(mock_server.url), tmp_path / "live", 12, row_group_size=4).load_dataset()
    pd.testing.assert_frame_equal(frame, live)
    for photo in frame["photo"]:
        image = (tmp_path / "batch" / photo).read_bytes()
        assert image.startswith(b"\x89PNG")
        assert image == (tmp_path / "live" / photo).read_bytes()


@custom_column_generator(required_columns=["number"], model_aliases=["writer"])
async def shortened(row: dict[str, Any], models: Any) -> str:
    draft, _ = await models["writer"].generate(f"Write about {row['number']}.")
    final, _ = await models["writer"].generate(f"Make it shorter: {draft}")
    return str(final)


@custom_column_generator(required_columns=["number"], model_aliases=["writer"])
def written(row: dict[str, Any], models: Any) -> str:
    answer, _ = models["writer"].generate(f"Write about {row['number']}.")
    return str(answer)


def custom(url: str, function: Any, **batch: Any) -> dict[str, Any]:
    """A custom column beside a sampler, with the model in batch mode."""
    config = batched(url, **batch)
    column = {"name": "made", "column_type": "custom", "generator_function": function}
    return config | {"columns": [config["columns"][0], column]}


def test_an_async_custom_function_asks_for_all_rows_in_one_batch(mock_server: MockServer, tmp_path: Path) -> None:
    """However many cells there are: both calls of a cell are in a batch of all cells."""
    rows = 300
    config = custom(mock_server.url, shortened, **WHOLE | {"max_requests": rows})
    assert build(config, tmp_path / "d", rows, row_group_size=50).load_dataset()["made"].str.len().min() > 0
    stats = mock_server.stats()
    assert (stats.batches, stats.batched_requests) == (2, 2 * rows)


def test_a_custom_function_that_would_hold_a_thread_is_refused(mock_server: MockServer, tmp_path: Path) -> None:
    config = custom(mock_server.url, written)
    with pytest.raises(ConfigError, match=r"columns\[1\]\.generator_function: asks model 'writer'.*async def"):
        build(config, tmp_path / "d")
    assert mock_server.stats().batches == 0
    config["model_configs"][0] |= {"mode": "live"}
    assert len(build(config, tmp_path / "d", 10).load_dataset()) == 10
