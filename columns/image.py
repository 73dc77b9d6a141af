"""`image` columns: pictures made by a model, as files beside the dataset, or as base64 where there is no such place."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pyarrow as pa
from pydantic import Field

from prefect_datagen.columns.base import ColumnConfig, Reference, TemplateSkip
from prefect_datagen.columns.build import BuildContext
from prefect_datagen.columns.chat_generator import Prompt
from prefect_datagen.columns.inference import RequestParameters, model_for
from prefect_datagen.columns.media import MediaParts, MultiModalContext, image_format
from prefect_datagen.columns.references import skip_value_problems, template_references
from prefect_datagen.engine.chat import ImageRequest
from prefect_datagen.engine.errors import CellError, SinkError
from prefect_datagen.engine.node import Cell, ColumnNode, RowKey, Strategy
from prefect_datagen.models.config import ImageInferenceParameters


class ImageColumnConfig(ColumnConfig):
    """An image made by a model."""

    column_type: Literal["image"] = "image"
    prompt: str = Field(description="Jinja2 template of what the image shows.")
    model_alias: str = Field(min_length=1, description="Alias of one of `model_configs`, of type image.")
    multi_modal_context: list[MultiModalContext] | None = Field(
        default=None, description="Columns with images, audio or video that are sent along."
    )

    def references(self) -> Iterator[Reference]:
        """Columns that the prompt and the multi-modal context read."""
        yield from template_references(self.prompt, "prompt")
        for at, context in enumerate(self.multi_modal_context or []):
            yield Reference(context.column_name, f"multi_modal_context[{at}].column_name")

    def templates(self) -> Iterator[tuple[str, str]]:
        """The prompt."""
        yield "prompt", self.prompt

    def model_aliases(self) -> Iterator[Reference]:
        """The model."""
        yield Reference(self.model_alias, "model_alias")

    def check(self) -> Iterator[tuple[str, str]]:
        """Whether the skip value could stand in the column."""
        return skip_value_problems(self, pa.string)

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """Text: the file's path relative to the dataset, or base64."""
        return (pa.string(),)

    def build(self, context: BuildContext) -> ColumnNode:
        """One cell, and one call, per row."""
        return ColumnNode(
            name=self.name,
            produces=self.produces(),
            inputs=tuple(dict.fromkeys(reference.column for reference in self.references())),
            strategy=Strategy.CELL,
            resource=self.model_alias,
            generator=ImageGenerator(self, context),
            types=self.types(context.types),
            skip=None if self.skip is None else TemplateSkip(self.skip),
            propagate_skip=self.propagate_skip,
        )


class ImageGenerator:
    """Makes one cell by one call, and one file."""

    def __init__(self, config: ImageColumnConfig, context: BuildContext) -> None:
        model = model_for(context, config.model_alias, column=config.name, kind=ImageInferenceParameters)
        self._alias = config.model_alias
        self._prompt = Prompt(config.prompt, context, "prompt")
        self._media = MediaParts(config.multi_modal_context or [], context.artifact_dir)
        self._parameters = RequestParameters(model, column=config.name, seed=context.seed)
        folder = quote(config.name, safe="").replace(".", "%2E")  # a column may be named like `..`
        self._folder = None if context.artifact_dir is None else context.artifact_dir / folder

    async def generate(self, cell: Cell) -> tuple[str]:
        """The path of the row's file relative to the dataset; base64 where there is no folder for files.

        The file has its name from the row, so making the row again leaves one file.

        Raises:
            ModelError: the endpoint failed.
            CellError: reason "invalid answer": what came is no image.
            SinkError: the file cannot be written.
        """
        import asyncio  # with its network code, which the check of a config does not need

        request = ImageRequest(
            model=self._parameters.model,
            prompt=self._prompt.render(cell.inputs),
            parts=await self._media.of_row(cell.inputs),
            parameters=self._parameters.for_row(cell.row),
        )
        image = await cell.models.image(self._alias, request)
        kind = image_format(image)
        if kind is None:
            raise CellError(f"the answer is no image: it starts with {image[:12]!r}", reason="invalid answer")
        if self._folder is None:
            return (base64.b64encode(image).decode(),)
        path = self._folder / _file_name(cell.row, kind)
        await asyncio.to_thread(_write, path, image)
        return (path.relative_to(self._folder.parent.parent).as_posix(),)


def _file_name(row: RowKey, kind: str) -> str:
    copy = f"-{row.copy}" if row.copy else ""
    return f"{row.index:08d}{copy}.{kind}"


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; it is on disk when this returns."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise SinkError(f"cannot write image {str(path)!r}: {error.strerror or error}", path=str(path)) from error
