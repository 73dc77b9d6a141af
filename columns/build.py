"""What a column's config is given when it becomes a node of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect_datagen.engine.arrays import pa
from prefect_datagen.models.config import ModelConfig


@dataclass(frozen=True)
class BuildContext:
    """Facts of the whole config that a single column needs.

    Attributes:
        seed: run seed; with the column's name it keys the column's `RowStream`.
        types: Arrow type of every column upstream of this one, by name.
        full_columns: columns that are filled a row group at a time; a column that reads only these may be, too.
        models: model configs by alias.
        max_conversation_restarts: conversations started anew after an unusable answer, at most.
        max_conversation_correction_steps: rounds in which the model is shown what was wrong, at most.
        base_dir: folder that relative paths and import paths in the config start from.
        artifact_dir: folder beside the data for files such as images; None in a preview.
    """

    seed: int
    types: Mapping[str, pa.DataType]
    full_columns: frozenset[str]
    models: Mapping[str, ModelConfig]
    max_conversation_restarts: int
    max_conversation_correction_steps: int
    base_dir: Path
    artifact_dir: Path | None = None
