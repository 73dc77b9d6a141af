"""Rows of a preview as a terminal shows them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from prefect_datagen.cli.records import show_records
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.flows.preview import preview_dataset

pytestmark = pytest.mark.usefixtures("prefect_api")

CONFIG: dict[str, Any] = {
    "columns": [
        {"name": "topic", "column_type": "sampler", "sampler_type": "category", "params": {"values": ["tea"]}},
        {"name": "secret", "column_type": "expression", "expr": "hidden", "drop": True},
        {
            "name": "code",
            "column_type": "llm-code",
            "code_lang": "python",
            "model_alias": "m",
            "prompt": "Code about {{ topic }}",
            "system_prompt": "Be brief.",
        },
        {
            "name": "verdict",
            "column_type": "llm-judge",
            "model_alias": "m",
            "prompt": "Judge {{ secret }}",
            "scores": [{"name": "taste", "description": "How good?", "options": {"1": "bad", "2": "good"}}],
        },
        {"name": "checked", "column_type": "validation", "target_columns": ["code"], "validator_type": "code",
         "validator_params": {"code_lang": "python"}},
        {"name": "vector", "column_type": "embedding", "target_column": "topic", "model_alias": "e"},
        {"name": "picture", "column_type": "image", "prompt": "Paint {{ topic }}", "model_alias": "i"},
    ],
    "model_configs": [
        {"alias": "m", "model": "m"},
        {"alias": "e", "model": "e", "inference_parameters": {"generation_type": "embedding", "dimensions": 64}},
        {"alias": "i", "model": "i", "inference_parameters": {"generation_type": "image"}},
    ],
}  # fmt: skip


def shown(*, colours: bool) -> str:
    config = DatasetConfig.load(CONFIG)
    result = preview_dataset(config, num_records=2, run=RunConfig(seed=1))
    console = Console(
        file=io.StringIO(), force_terminal=colours, width=120, color_system="standard" if colours else None
    )
    show_records(result, config, console=console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_records_come_one_by_one_with_prompts_and_judgements() -> None:
    text = shown(colours=False)
    assert text.index("row 1 of 2") < text.index("row 2 of 2")
    assert "prompt: Code about tea" in text
    assert "system prompt: Be brief." in text
    assert "prompt (template): Judge {{ secret }}" in text  # it reads a column that is left out of the dataset
    assert "taste: " in text
    assert "1, 2" in text
    assert "[offline model]" in text.split("taste: ")[1]  # the reasoning
    assert "(64 numbers)" in text
    assert "bytes (base64; --json shows it)" in text


def test_code_is_in_colours_on_a_terminal() -> None:
    text = shown(colours=True)
    line = next(line for line in text.splitlines() if "answer" in line and "def" in line)
    assert "\x1b[" in line.split("def")[0]
    assert "\x1b[" in line.split("def")[1].split("answer")[0]
