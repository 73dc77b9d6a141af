"""Small workflows for chain tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MOODS = ["glad", "sad", "0E8"]


def people(**changes: Any) -> dict[str, Any]:
    """A first stage: 12 people with a mood; `0E8` is one."""
    return {
        "name": "people",
        "num_records": 12,
        "config": {
            "columns": [
                {"name": "person", "column_type": "sampler", "sampler_type": "uuid", "params": {"short_form": True}},
                {"name": "mood", "column_type": "sampler", "sampler_type": "category", "params": {"values": MOODS}},
            ]
        },
    } | changes


def places(**changes: Any) -> dict[str, Any]:
    """A first stage beside the other: 3 places."""
    column = {
        "name": "place",
        "column_type": "sampler",
        "sampler_type": "category",
        "params": {"values": ["00M", "1.10"]},
    }
    return {"name": "places", "num_records": 3, "config": {"columns": [column]}} | changes


def notes(url: str | None = None, **changes: Any) -> dict[str, Any]:
    """A second stage: a model writes about each person; 8 requests at a time."""
    config: dict[str, Any] = {
        "columns": [
            {
                "name": "note",
                "column_type": "llm-text",
                "model_alias": "writer",
                "prompt": "{{ person }} is {{ mood }}.",
            }
        ],
        "model_configs": [
            {
                "alias": "writer",
                "model": "mock",
                "provider": "endpoint" if url else "offline",
                "inference_parameters": {"max_parallel_requests": 8},
            }
        ],
    }
    if url:
        config["model_providers"] = [{"name": "endpoint", "endpoint": url}]
    return {"name": "notes", "seeds_from": "people", "config": config} | changes


def lines(**changes: Any) -> dict[str, Any]:
    """A third stage: an expression over the second one's rows."""
    column = {"name": "line", "column_type": "expression", "expr": "{{ mood }}: {{ note }}"}
    return {"name": "lines", "seeds_from": "notes", "config": {"columns": [column]}} | changes


def _custom(name: str, function: str, inputs: list[str]) -> dict[str, Any]:
    """A column that a user's function makes."""
    return {
        "name": name,
        "column_type": "custom",
        "generator_function": f"tests.flows.stream_code:{function}",
        "input_columns": inputs,
    }


def numbers(rows: int = 18, **changes: Any) -> dict[str, Any]:
    """A first stage: the numbers from 0, five to a row group."""
    seed = {"source": {"seed_type": "duckdb", "query": "SELECT range AS number FROM range(100)"}}
    at_once = _custom("at_once", "whole", ["copy"]) | {"generation_strategy": "full_column", "dtype": "int"}
    config = {"seed_config": seed, "columns": [_custom("copy", "numbered", ["number"]), at_once]}
    # One row group after the other: those that wait must not hold the threads that the first ones need.
    settings = {"max_concurrent_row_groups": 1, **changes.pop("run", {})}
    return {"name": "numbers", "num_records": rows, "config": config, "run": settings} | changes


def opened(**changes: Any) -> dict[str, Any]:
    """A stage whose first row opens the gate."""
    return {
        "name": "opened",
        "seeds_from": "numbers",
        "config": {"columns": [_custom("text", "opening", ["number"])]},
    } | changes


def written(url: str, **changes: Any) -> dict[str, Any]:
    """A stage that a model writes, one call after the other."""
    model = {
        "alias": "writer",
        "model": "streamed",
        "provider": "endpoint",
        "inference_parameters": {"max_parallel_requests": 1},
    }
    config = {
        "columns": [
            {"name": "text", "column_type": "llm-text", "model_alias": "writer", "prompt": "Number {{ number }}."}
        ],
        "model_configs": [model],
        "model_providers": [{"name": "endpoint", "endpoint": url}],
    }
    return {"name": "written", "seeds_from": "numbers", "config": config} | changes


def workflow(path: Path, *stages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """These stages, five rows to a row group, run seed 7."""
    run = {"seed": 7, "row_group_size": 5, **changes.pop("run", {})}
    return {"name": "demo", "path": str(path), "run": run, "stages": list(stages)} | changes
