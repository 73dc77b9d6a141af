"""What every column's config has, and what the graph asks of it.

A config model is the file format. `build(context)` turns it into a `ColumnNode` for the engine; columns that are known
before generation (seed data and samplers) are filled in the seed stage instead and say so with `at_seed_stage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from prefect_datagen.columns.template import Template, TemplateError
from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import CellError

if TYPE_CHECKING:
    from prefect_datagen.columns.build import BuildContext
    from prefect_datagen.engine.node import ColumnNode


class Config(BaseModel):
    """Base of everything a user writes: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


@dataclass(frozen=True)
class Reference:
    """That a column reads another one: its name, and the field of the config that says so (for error messages)."""

    column: str
    field: str


class SkipConfig(Config):
    """When a cell of this column is not made."""

    when: str = Field(min_length=1, description="Jinja2 expression with {{ }}; the row is skipped where it is true.")
    value: bool | int | float | str | None = Field(default=None, description="What a skipped cell holds.")


class ColumnConfig(Config):
    """What all columns have in common."""

    at_seed_stage: ClassVar[bool] = False
    """Filled before pre-batch processors run, without a model: seed data and samplers."""

    name: str = Field(min_length=1, pattern=r"^[^\s{}'\"`]+$", description="Column name, unique in the dataset.")
    drop: bool = Field(default=False, description="Leave the column out of the dataset; others may still read it.")
    skip: SkipConfig | None = Field(default=None, description="When not to make a cell, and what stands there instead.")
    propagate_skip: bool = Field(default=True, description="Skip this cell too where any column it reads was skipped.")

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    def place_in(self, folder: Path) -> None:
        """Say where relative paths and imports of this column start from. The config that holds it does, once."""
        self._folder = folder

    def produces(self) -> tuple[str, ...]:
        """Columns this config writes: its own name first, then side columns such as `{name}__trace`."""
        return (self.name,)

    def references(self) -> Iterable[Reference]:
        """Columns that the config reads, those of `skip` not included."""
        return ()

    def templates(self) -> Iterable[tuple[str, str]]:
        """(field, text) of every Jinja2 template in the config, those of `skip` not included."""
        return ()

    def model_aliases(self) -> Iterable[Reference]:
        """Model aliases that the config uses, with the field that names each."""
        return ()

    def asks_from_thread(self) -> bool:
        """Whether user code of this column asks models from a thread, which it holds until they have answered."""
        return False

    def check(self) -> Iterable[tuple[str, str]]:
        """Mistakes that are found by looking further than one field: (field, message) each."""
        return ()

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """Arrow types of the columns in `produces()`; `upstream` gives those of the columns it reads."""
        raise NotImplementedError

    def build(self, context: BuildContext) -> ColumnNode:
        """The node that fills this column. Not called for columns of the seed stage."""
        raise NotImplementedError

    def source_code(self) -> Iterable[str]:
        """Source text of user code behind this column; a change of it is a change of the dataset."""
        return ()


class TemplateSkip:
    """The `SkipRule` of a `SkipConfig`."""

    def __init__(self, config: SkipConfig) -> None:
        self._template = Template(config.when)
        self.value: Any = config.value
        self.inputs: tuple[str, ...] = self._template.references

    def applies(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the condition is true: anything but an empty rendering, 0, false, none and null."""
        try:
            text = self._template.render(inputs)
        except TemplateError as error:
            raise CellError(f"skip.when: {error}", reason="template") from error
        return text.strip().lower() not in {"", "0", "0.0", "false", "none", "null", "[]", "{}"}
