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


def workflow(path: Path, *stages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """These stages, five rows to a row group, run seed 7."""
    run = {"seed": 7, "row_group_size": 5, **changes.pop("run", {})}
    return {"name": "demo", "path": str(path), "run": run, "stages": list(stages)} | changes
