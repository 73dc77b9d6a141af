"""Every mistake in a config is told, all together, each with its path, its value and what was perhaps meant.

The table is `wrong_configs.yaml`: what is wrong, a config, and every problem word for word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.engine.errors import ConfigError

TABLE: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "wrong_configs.yaml").read_text())


def problems_of(config: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        DatasetConfig.load(config)
    return caught.value.problems


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case["mistake"])
def test_a_mistake_is_told_word_for_word(case: dict[str, Any]) -> None:
    assert problems_of(case["config"]) == [text.replace("{cwd}", str(Path.cwd())) for text in case["problems"]]


def test_there_are_mistakes_of_every_part() -> None:
    assert len(TABLE) >= 25
    told = {text.partition(":")[0].partition("[")[0].partition(".")[0] for case in TABLE for text in case["problems"]}
    assert told >= {
        "columns",
        "model_configs",
        "model_providers",
        "seed_config",
        "constraints",
        "processors",
        "checks",
    }


def test_all_mistakes_of_a_config_are_told_together() -> None:
    config: dict[str, Any] = {"columns": [], "model_configs": []}
    expected = set()
    for case in TABLE:
        columns = case["config"].get("columns")
        if not isinstance(columns, list) or len(columns) != 1 or len(case["problems"]) != 1:
            continue
        (problem,) = case["problems"]
        shape = problem.startswith("columns[0].") and any(
            words in problem for words in (" is none of ", "unknown field", "is required", "Input should be")
        )
        if shape:
            at = len(config["columns"])
            config["columns"].append({**columns[0], "name": f"c{at}"})
            expected.add(problem.replace("columns[0]", f"columns[{at}]"))
    assert len(expected) >= 6
    assert expected <= set(problems_of(config))


def test_problems_of_a_file_have_its_name_and_line(tmp_path: Path) -> None:
    file = tmp_path / "dataset.yaml"
    file.write_text("name: x\ncolumns:\n  - name: a\n    column_type: expression\n    expr: '{{ b }}'\n")
    assert problems_of(file) == [f"{file}:5: columns[0].expr: column 'b' is not defined"]


@pytest.mark.parametrize("text", ["columns: [\n", "a: b: c\n", "- 1\n- 2\n", "just\ntext\n"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert problems_of(text)


def test_a_broken_model_is_not_told_again_by_the_columns_that_use_it() -> None:
    column = {"name": "t", "column_type": "llm-text", "model_alias": "writer", "prompt": "x"}
    model = {"alias": "writer", "model": "m", "inference_parameters": {"temperature": 9}}
    (problem,) = problems_of({"columns": [column], "model_configs": [model]})
    assert problem == "model_configs[0].inference_parameters.temperature: 9 is not from 0 to 2 (got 9)"
