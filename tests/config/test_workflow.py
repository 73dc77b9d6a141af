"""Workflow files: what they may say, and how every mistake in one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_datagen.config.run import RunConfig
from prefect_datagen.config.workflow import Workflow, is_workflow
from prefect_datagen.config.workflow_check import check_stages
from prefect_datagen.engine.errors import ConfigError
from tests.flows.workflows import lines, notes, people, places, workflow

FILE = """\
name: demo
stages:
  - name: people
    config: people.yaml
    num_records: 10
  - name: notes
    config: notes.yaml
    seeds_from: poeple
  - name: pairs
    config: pairs.yaml
    seeds_from: [people, notes]
  - name: alone
    config: alone.yaml
    sampling_strategy: shuffle
"""


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "workflow.yaml"
    file.write_text(FILE)
    with pytest.raises(ConfigError) as refused:
        Workflow.load(file)
    assert refused.value.problems == [
        f"{file}:8: stages[1].seeds_from: stage 'poeple' is not defined; did you mean 'people'?",
        f"{file}:9: stages[2].query: is required: say how the rows of several stages become seed rows "
        "(a SELECT with a JOIN)",
        f"{file}:12: stages[3].num_records: is required: there is no earlier stage to take the number of rows from",
        f"{file}:14: stages[3].sampling_strategy: goes with seeds_from; seed data of the stage's own belongs in its "
        "config's seed_config",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Two Words"}, r"stages\[0\].name: String should match pattern .*got 'Two Words'"),
        ({"nmae": 1}, r"stages\[0\].nmae: unknown field"),
        ({"output": "porcessor:x"}, r"stages\[0\].output: String should match pattern"),
        ({"endpoints": ["local"]}, r"stages\[0\].endpoints: 'local' is not TYPE/NAME of a saved block"),
        ({"run": {"row_group_size": 0}}, r"stages\[0\].run.row_group_size: .* greater than or equal to 1 .got 0."),
        ({"num_records": -1}, r"stages\[0\].num_records: .* greater than or equal to 0"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Workflow.load(workflow(tmp_path, people(**change)))


def test_a_circle_is_told_as_it_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in a circle: people → lines → notes → people"):
        Workflow.load(workflow(tmp_path, people(seeds_from="lines"), notes(), lines()))


def test_two_stages_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stages: the name 'people' is used 2 times"):
        Workflow.load(workflow(tmp_path, people(), people()))


def test_stages_come_after_what_they_take_their_seeds_from(tmp_path: Path) -> None:
    loaded = Workflow.load(workflow(tmp_path, lines(), places(), notes(), people()))
    assert [stage.name for stage in loaded.in_order()] == ["places", "people", "notes", "lines"]


def test_only_is_one_stage_and_from_is_a_stage_with_all_that_follow(tmp_path: Path) -> None:
    loaded = Workflow.load(workflow(tmp_path, people(), places(), notes(), lines()))
    assert [stage.name for stage in loaded.selection(only="notes")] == ["notes"]
    assert [stage.name for stage in loaded.selection(start="notes")] == ["notes", "lines"]
    assert len(loaded.selection()) == 4
    with pytest.raises(ConfigError, match="stage 'note' is not defined; did you mean 'notes'"):
        loaded.selection(only="note")
    with pytest.raises(ConfigError, match="--only and --from contradict each other"):
        loaded.selection(only="notes", start="notes")


def test_run_settings_of_a_stage_go_before_the_workflow_s_and_given_ones_before_both(tmp_path: Path) -> None:
    loaded = Workflow.load(workflow(tmp_path, people(run={"row_group_size": 2, "max_retries": 9}), run={"seed": 3}))
    stage = loaded.stage("people")
    merged = loaded.run_of(stage, RunConfig(max_retries=1))
    assert (merged.seed, merged.row_group_size, merged.max_retries) == (3, 2, 1)
    assert merged.max_concurrent_row_groups == RunConfig().max_concurrent_row_groups


def test_a_workflow_is_known_by_its_stages(tmp_path: Path) -> None:
    assert is_workflow(workflow(tmp_path, people()))
    assert not is_workflow({"columns": []})
    assert not is_workflow("columns:\n  - {name: a}\n")


def test_a_stage_s_config_is_checked_against_the_columns_it_will_get(tmp_path: Path) -> None:
    wrong = notes()
    wrong["config"]["columns"][0]["prompt"] = "{{ persn }} is {{ mood }}"
    with pytest.raises(ConfigError) as refused:
        check_stages(Workflow.load(workflow(tmp_path, people(), wrong, lines())))
    assert len(refused.value.problems) == 1  # what follows from a wrong stage is not reported
    assert "stages[1].config: " in refused.value.problems[0]
    assert "column 'persn' is not defined; did you mean 'person'?" in refused.value.problems[0]


def test_queries_and_output_processors_are_checked_before_anything_is_built(tmp_path: Path) -> None:
    first = people(output_processors=[{"name": "glad", "processor_type": "filter", "condition": "mod = 'glad'"}])
    pairs = lines(
        name="pairs", seeds_from=["places", "places2"], query="SELECT * FROM places JOIN places2 USING (plce)"
    )
    named = people(name="named", output="processor:nothing")
    with pytest.raises(ConfigError) as refused:
        check_stages(Workflow.load(workflow(tmp_path, first, places(), places(name="places2"), pairs, named)))
    told = "\n".join(refused.value.problems)
    assert "stages[0].output_processors: processor 'glad'" in told
    assert "stages[3].query: query:" in told
    assert "stages[4].output: no output processor and no after_generation processor is named 'nothing'" in told
    assert len(refused.value.problems) == 3


def test_a_query_sees_the_stages_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("code\n0E8\n")
    reads = lines(seeds_from=["places", "people"], query=f"SELECT * FROM '{tmp_path}/codes.csv'")
    with pytest.raises(ConfigError, match=r"stages\[2\].query: query: "):
        check_stages(Workflow.load(workflow(tmp_path, people(), places(), reads)))
