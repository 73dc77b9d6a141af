"""Small dataset configs for flow tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

AIRPORTS = Path(__file__).parents[2] / "examples" / "airports" / "dataset.yaml"


def feedback(url: str | None = None, **changes: Any) -> dict[str, Any]:
    """Two samplers, an expression, two model columns one of which reads the other; 8 requests at a time.

    Without `url` the model is the offline one. `changes` replace top-level fields.
    """
    config: dict[str, Any] = {
        "name": "feedback",
        "columns": [
            {"name": "number", "column_type": "sampler", "sampler_type": "uuid", "params": {"short_form": True}},
            {
                "name": "mood",
                "column_type": "sampler",
                "sampler_type": "category",
                "params": {"values": ["glad", "sad", "0E8"]},
            },
            {"name": "title", "column_type": "expression", "expr": "{{ mood }} {{ number }}"},
            {"name": "text", "column_type": "llm-text", "model_alias": "writer", "prompt": "Write about {{ title }}."},
            {"name": "reply", "column_type": "llm-text", "model_alias": "writer", "prompt": "Reply to: {{ text }}"},
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
    return config | changes


def samplers(**changes: Any) -> dict[str, Any]:
    """Columns that need no model."""
    config = feedback()
    return {"name": "samplers", "columns": config["columns"][:3]} | changes


def postcards(url: str | None, **changes: Any) -> dict[str, Any]:
    """A text, its vector, a list's vectors, and an image."""
    where = "endpoint" if url else "offline"
    config: dict[str, Any] = {
        "columns": [
            {"name": "id", "column_type": "sampler", "sampler_type": "uuid", "params": {}},
            {"name": "vector", "column_type": "embedding", "target_column": "id", "model_alias": "embedder"},
            {"name": "photo", "column_type": "image", "prompt": "A postcard {{ id }}", "model_alias": "painter"},
        ],
        "model_configs": [
            {
                "alias": "embedder",
                "model": "e",
                "provider": where,
                "inference_parameters": {"generation_type": "embedding", "dimensions": 6, "max_parallel_requests": 3},
                "price": {"input": 1.0},
            },
            {"alias": "painter", "model": "i", "provider": where, "inference_parameters": {"generation_type": "image"}},
        ],
    }
    if url:
        config["model_providers"] = [{"name": "endpoint", "endpoint": url}]
    return config | changes
