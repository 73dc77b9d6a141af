"""Datasets for reliability tests: small, every row of its own, with cells that wait for cells of another model column."""

from __future__ import annotations

from typing import Any

ROWS = 24
SIZE = 6
CEILING = 8
CALLS = 3 * ROWS

_SAMPLED: list[dict[str, Any]] = [
    {"name": "number", "column_type": "sampler", "sampler_type": "uuid", "params": {"short_form": True}},
    {
        "name": "mood",
        "column_type": "sampler",
        "sampler_type": "category",
        "params": {"values": ["glad", "sad", "0E8"]},
    },
    {"name": "title", "column_type": "expression", "expr": "{{ mood }} {{ number }}"},
]
_WRITTEN: list[dict[str, Any]] = [
    {"name": "text", "column_type": "llm-text", "model_alias": "writer", "prompt": "Write about {{ title }}."},
    {"name": "reply", "column_type": "llm-text", "model_alias": "writer", "prompt": "Reply to: {{ text }}"},
]


def rating(prompt: str) -> dict[str, Any]:
    """A structured column."""
    return {
        "name": "rating",
        "column_type": "llm-structured",
        "model_alias": "writer",
        "prompt": prompt,
        "output_format": {
            "type": "object",
            "properties": {"stars": {"type": "integer", "minimum": 1, "maximum": 5}, "why": {"type": "string"}},
            "required": ["stars", "why"],
            "additionalProperties": False,
        },
    }


def reviews(url: str, *, model: str = "mock", timeout: float = 60.0, **changes: Any) -> dict[str, Any]:
    """Three model columns, two of which read the first: 3 calls a row, at most 8 at a time."""
    config: dict[str, Any] = {
        "name": "reviews",
        "columns": [*_SAMPLED, *_WRITTEN, rating("Rate this: {{ text }}")],
        "model_configs": [
            {
                "alias": "writer",
                "model": model,
                "provider": "endpoint",
                "inference_parameters": {"max_parallel_requests": CEILING, "timeout": timeout},
            }
        ],
        "model_providers": [{"name": "endpoint", "endpoint": url}],
    }
    return config | changes


def ratings(url: str, **changes: Any) -> dict[str, Any]:
    """One structured column: every call wants JSON."""
    return reviews(url, **changes) | {"name": "ratings", "columns": [*_SAMPLED, rating("Rate {{ title }}.")]}
