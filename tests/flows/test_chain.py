"""Chained stages through the flow, against a real model server process and Prefect's API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect import State

from prefect_datagen.blocks import OfflineModel, ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError, ShortfallError
from prefect_datagen.engine.outcomes import Verdict
from prefect_datagen.flows.chain import ChainPreview, ChainResult, chain_datasets
from prefect_datagen.flows.progress import ProgressSnapshot, progress_to
from prefect_datagen.flows.stage import StageOutcome
from tests.flows.workflows import MOODS, lines, notes, people, places, workflow
from tests.mock_server import MockServer
from tests.prefect_api import subflow_run_names, task_run_states

pytestmark = pytest.mark.usefixtures("prefect_api")


def run(config: dict[str, Any], **arguments: Any) -> tuple[State[Any], dict[str, str]]:
    """Run a workflow: its final state, and the outcome of each stage."""
    state: State[Any] = chain_datasets(config, **arguments, return_state=True)
    result = state.result(raise_on_failure=False)
    outcomes = (
        {name: stage.outcome.value for name, stage in result.stages.items()} if isinstance(result, ChainResult) else {}
    )
    return state, outcomes


def load(path: Path, stage: str) -> pd.DataFrame:
    """The dataset of a stage."""
    return ParquetRowGroupSink(path=path / stage).reader().load()


def test_each_stage_is_seeded_by_the_one_before_it(tmp_path: Path, mock_server: MockServer) -> None:
    state, outcomes = run(workflow(tmp_path, people(), notes(mock_server.url), lines()))
    assert state.name == "Completed"
    assert outcomes == dict.fromkeys(["people", "notes", "lines"], "built")
    frame = load(tmp_path, "lines")
    assert list(frame["person"]) == list(load(tmp_path, "people")["person"])
    assert (frame["line"] == frame["mood"] + ": " + frame["note"]).all()
    assert set(frame["mood"]) <= set(MOODS)
    assert "0E8" in set(frame["mood"])
    assert mock_server.stats().calls == 12


def test_a_second_run_is_cached_and_asks_nothing(tmp_path: Path, mock_server: MockServer) -> None:
    config = workflow(tmp_path, people(), notes(mock_server.url), lines())
    run(config)
    mock_server.become()
    state, outcomes = run(config)
    assert state.name == "Cached"
    assert outcomes == dict.fromkeys(["people", "notes", "lines"], "cached")
    assert mock_server.stats().calls == 0
    assert task_run_states(state, count=3) == {f"stage-{name}": "Cached" for name in outcomes}
    assert subflow_run_names(state) == []


def test_a_change_reruns_its_stage_and_what_follows_and_pays_for_no_more(
    tmp_path: Path, mock_server: MockServer
) -> None:
    run(workflow(tmp_path, people(), places(), notes(mock_server.url), lines()))
    mock_server.become()
    changed = notes(mock_server.url)
    changed["config"]["columns"][0]["prompt"] = "{{ person }} feels {{ mood }}."
    state, outcomes = run(workflow(tmp_path, people(), places(), changed, lines()))
    assert outcomes == {"people": "cached", "places": "cached", "notes": "built", "lines": "built"}
    assert mock_server.stats().calls == 12
    assert task_run_states(state, count=4)["stage-people"] == "Cached"
    assert sorted(subflow_run_names(state)) == ["demo-lines", "demo-notes"]


def test_a_change_upstream_that_leaves_the_rows_as_they_were_reruns_nothing_below(tmp_path: Path) -> None:
    run(workflow(tmp_path, people(), notes()))
    renamed = people()
    renamed["config"]["columns"][0]["params"] = {"short_form": True, "uppercase": False}  # the default, said aloud
    _, outcomes = run(workflow(tmp_path, renamed, notes()))
    assert outcomes["notes"] == "cached"


def test_the_number_of_rows_is_that_of_the_seed_rows_unless_it_is_given(tmp_path: Path) -> None:
    few = lines(name="few", seeds_from="people", num_records=4, config=_moods())
    picked = lines(name="picked", seeds_from="people", selection_strategy={"start": 2, "end": 4}, config=_moods())
    run(workflow(tmp_path, people(), few, picked))
    everyone = list(load(tmp_path, "people")["person"])
    assert list(load(tmp_path, "few")["person"]) == everyone[:4]
    assert list(load(tmp_path, "picked")["person"]) == everyone[2:5]


def test_stages_are_joined_by_a_query_over_their_outputs(tmp_path: Path) -> None:
    query = "SELECT person, mood, place FROM people CROSS JOIN (SELECT DISTINCT place FROM places) ORDER BY ALL"
    joined = lines(name="visits", seeds_from=["people", "places"], query=query, config=_moods())
    run(workflow(tmp_path, people(), places(), joined))
    frame = load(tmp_path, "visits")
    distinct = load(tmp_path, "places")["place"].nunique()
    assert len(frame) == 12 * distinct
    assert set(frame["place"]) <= {"00M", "1.10"}
    _, again = run(workflow(tmp_path, people(), places(), joined))
    assert again["visits"] == "cached"


def test_output_processors_make_what_later_stages_get_and_leave_the_dataset_as_it_is(tmp_path: Path) -> None:
    first = people(
        output_processors=[
            {"name": "not sad", "processor_type": "filter", "condition": "mood <> 'sad'"},
            {
                "name": "twice",
                "processor_type": "sql",
                "query": "SELECT *, unnest([1, 2]) AS nth FROM rows",
                "allow_resize": True,
            },
        ]
    )
    second = lines(name="second", seeds_from="people", config=_moods())
    run(workflow(tmp_path, first, second))
    everyone = load(tmp_path, "people")
    kept = everyone[everyone["mood"] != "sad"]
    assert 0 < len(kept) < 12
    assert len(load(tmp_path, "second")) == 2 * len(kept)

    _, outcomes = run(workflow(tmp_path, first | {"output": "processor:not sad"}, second))
    assert outcomes == {"people": "cached", "second": "built"}
    assert list(load(tmp_path, "second")["person"]) == list(kept["person"])
    assert "nth" not in load(tmp_path, "second").columns


def test_the_output_may_be_that_of_a_processor_of_the_config(tmp_path: Path) -> None:
    first = people()
    first["config"]["processors"] = [
        {"name": "glad", "processor_type": "filter", "condition": "mood = 'glad'", "stage": "after_generation"},
        {"name": "bare", "processor_type": "drop_columns", "column_names": ["mood"], "stage": "after_generation"},
    ]
    second = lines(name="second", seeds_from="people", config=_moods())
    run(workflow(tmp_path, first | {"output": "processor:glad"}, second))
    assert "mood" not in load(tmp_path, "people").columns
    assert set(load(tmp_path, "second")["mood"]) == {"glad"}
    assert list(load(tmp_path, "second")["person"]) == list(load(tmp_path, "people")["person"])


def test_no_rows_fail_the_chain_unless_they_are_allowed(tmp_path: Path) -> None:
    none = people(output_processors=[{"name": "none", "processor_type": "filter", "condition": "mood = 'angry'"}])
    with pytest.raises(ShortfallError, match=r"chain stage people: the stage hands on no rows; .*allow_empty: true"):
        chain_datasets(workflow(tmp_path, none, notes(), lines()))
    run(workflow(tmp_path, people(), notes(), lines()))
    state, outcomes = run(workflow(tmp_path, none | {"allow_empty": True}, notes(), lines()))
    assert state.is_completed()
    assert outcomes == {"people": "cached", "notes": "skipped", "lines": "skipped"}
    assert task_run_states(state, count=3)["stage-lines"] == "Skipped"
    # What an earlier run built of other seeds is not left lying there as if it were this one's.
    assert ParquetRowGroupSink(path=tmp_path / "notes").reader().metadata() is None


def test_a_stage_that_fails_fails_the_chain_and_keeps_the_rest_for_the_next_run(
    tmp_path: Path, mock_server: MockServer
) -> None:
    mock_server.become(fail_prompt_regex="sad", fail_prompt_code="400")
    beside = lines(name="beside", seeds_from="people", config=_moods())
    config = workflow(
        tmp_path,
        people(),
        notes(mock_server.url, hand_off="whole"),
        lines(),
        beside,
        run={"disable_early_shutdown": True},
    )
    state: State[Any] = chain_datasets(config, return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert "ShortfallError: chain stage notes: " in state.message
    assert "rejected: 400 " in state.message
    states = task_run_states(state, count=4, settled={"NotReady"})
    assert states == {
        "stage-people": "Completed",
        "stage-notes": "Failed",
        "stage-lines": "NotReady",
        "stage-beside": "Completed",
    }
    paid = mock_server.stats().calls
    mock_server.become()
    state, _ = run(config, run=RunConfig(resume="repair", max_retries=3, disable_early_shutdown=True))
    assert state.is_failed()  # 400 is no cause that a retry can help, so the same rows are missing
    assert mock_server.stats().calls == 0
    assert paid == 12


def test_the_next_run_continues_where_a_stage_failed(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(fail_prompt_regex="sad", fail_prompt_code="500")
    config = workflow(
        tmp_path,
        people(),
        notes(mock_server.url),
        lines(),
        run={"max_retries": 0, "salvage_rounds": 0, "resume": "repair"},
    )
    first = {"resume": "if-possible", "disable_early_shutdown": True}
    assert run(config, run=RunConfig.model_validate(first))[0].is_failed()
    mock_server.become()
    _, outcomes = run(config, run=RunConfig(resume="if-possible"), only="people")
    assert outcomes == {"people": "cached"}
    repaired = RunConfig(resume="repair", max_retries=3)
    assert run(config, run=repaired, only="notes")[1] == {"notes": "built"}
    sad = int((load(tmp_path, "people")["mood"] == "sad").sum())
    assert mock_server.stats().calls == sad
    _, outcomes = run(config, run=RunConfig(resume="if-possible"))
    assert outcomes == {"people": "cached", "notes": "cached", "lines": "built"}
    assert len(load(tmp_path, "lines")) == 12


def test_missing_rows_may_be_a_warning(tmp_path: Path, mock_server: MockServer) -> None:
    mock_server.become(fail_prompt_regex="sad", fail_prompt_code="400")
    config = workflow(
        tmp_path,
        people(),
        notes(mock_server.url),
        lines(),
        run={"on_shortfall": "warn", "disable_early_shutdown": True},
    )
    state, _ = run(config)
    assert state.name == "Partial"
    assert task_run_states(state, count=3)["stage-notes"] == "Partial"
    everyone = load(tmp_path, "people")
    assert list(load(tmp_path, "lines")["person"]) == list(everyone[everyone["mood"] != "sad"]["person"])


def test_only_and_from_take_the_stages_before_as_they_are(tmp_path: Path) -> None:
    config = workflow(tmp_path, people(), notes(), lines())
    with pytest.raises(ConfigError, match=r"the dataset of stage 'people' in .* is not there: run that stage first"):
        chain_datasets(config, only="notes")
    assert run(config, only="people")[1] == {"people": "built"}
    assert run(config, only="notes")[1] == {"notes": "built"}
    state, outcomes = run(config, start="notes")
    assert outcomes == {"notes": "cached", "lines": "built"}
    assert list(task_run_states(state, count=2)) == ["stage-lines", "stage-notes"]


def test_independent_stages_are_at_work_at_the_same_time(tmp_path: Path, mock_server: MockServer) -> None:
    """The endpoint holds every call until it has one of each stage: one stage after the other would never end."""
    mock_server.become(hold=True)
    one, two = notes(mock_server.url, name="one"), notes(mock_server.url, name="two")
    for stage in (one, two):
        stage["config"]["model_configs"][0] |= {
            "model": stage["name"],  # calls to the same model share one limit, whichever stage makes them
            "inference_parameters": {"max_parallel_requests": 1},
        }
    seen: list[ProgressSnapshot] = []
    with ThreadPoolExecutor(1) as pool, progress_to(seen.append):
        met = pool.submit(mock_server.wait_until, lambda stats: stats.in_flight == 2, timeout=60)
        met.add_done_callback(lambda _: mock_server.control(hold=False))
        run(workflow(tmp_path, people(), one, two))
        met.result()
    assert seen[-1].rows_done == 36  # how far all stages are together


def test_a_preview_makes_a_few_rows_of_every_stage_and_writes_nothing(tmp_path: Path) -> None:
    joined = lines(
        name="visits",
        seeds_from=["notes", "places"],
        query="SELECT * FROM notes, places ORDER BY ALL",
        config={"columns": [{"name": "line", "column_type": "expression", "expr": "{{ place }}: {{ note }}"}]},
    )
    config = workflow(tmp_path / "out", people(), places(), notes(), joined)
    preview = chain_datasets(config, preview=2)
    assert isinstance(preview, ChainPreview)
    assert {name: len(each.dataset) for name, each in preview.stages.items()} == {
        "people": 2,
        "places": 2,
        "notes": 2,
        "visits": 2,
    }
    frame = preview.stages["visits"].dataset
    assert (frame["line"] == frame["place"] + ": " + frame["note"]).all()
    assert not (tmp_path / "out").exists()
    run(config)
    pd.testing.assert_frame_equal(preview.stages["notes"].dataset, load(tmp_path / "out", "notes").head(2))


def test_a_preview_is_of_the_whole_chain(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--preview makes a few rows of the whole workflow"):
        chain_datasets(workflow(tmp_path, people(), notes()), preview=2, only="notes")


def test_a_stage_takes_its_models_from_saved_blocks(tmp_path: Path) -> None:
    OfflineModel(provider="endpoint").save("chain-test", overwrite=True)
    stage = notes("http://127.0.0.1:9/v1", endpoints=["offline-model/chain-test"])
    _, outcomes = run(workflow(tmp_path, people(), stage))
    assert outcomes["notes"] == "built"
    with pytest.raises(ConfigError, match="chain stage notes: endpoints: there is no block 'offline-model/nobody'"):
        chain_datasets(workflow(tmp_path / "b", people(), notes(endpoints=["offline-model/nobody"])))


def test_a_wrong_stage_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    wrong = lines()
    wrong["config"]["columns"][0]["expr"] = "{{ nite }}"
    with pytest.raises(
        ConfigError, match=r"stages\[2\].config: .*\n.*column 'nite' is not defined; did you mean 'note'"
    ):
        chain_datasets(workflow(tmp_path / "out", people(), notes(), wrong))
    assert not (tmp_path / "out").exists()


def test_configs_of_stages_may_be_files_with_overrides(tmp_path: Path) -> None:
    (tmp_path / "people.yaml").write_text(
        "columns:\n  - {name: person, column_type: sampler, sampler_type: uuid, params: {}}\n"
        "  - {name: mood, column_type: expression, expr: plain}\n"
    )
    file = tmp_path / "workflow.yaml"
    file.write_text(
        f"path: {tmp_path}/out\nstages:\n  - name: people\n    config: people.yaml\n    num_records: 3\n"
        "    overrides: {'columns[mood].expr': '0E8'}\n"
    )
    result = chain_datasets(file)
    assert isinstance(result, ChainResult)
    assert result.stages["people"].outcome is StageOutcome.BUILT
    metadata = result.stages["people"].metadata
    assert metadata is not None
    assert metadata.status is Verdict.COMPLETE
    assert list(load(tmp_path / "out", "people")["mood"]) == ["0E8"] * 3
    assert result.summary == "people: 3 of 3 rows written (100.0 %) (built)"


def _moods() -> dict[str, Any]:
    return {"columns": [{"name": "says", "column_type": "expression", "expr": "I am {{ mood }}"}]}
