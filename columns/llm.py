"""`llm-text` and `llm-structured` columns, and what all columns written by a chat model have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, field_validator

from prefect_datagen.columns.base import ColumnConfig, Reference, TemplateSkip
from prefect_datagen.columns.json_answer import SchemaCheck, parse_json_answer
from prefect_datagen.columns.json_shape import TEXT, Shape, shape_of_schema
from prefect_datagen.columns.media import MultiModalContext
from prefect_datagen.columns.references import skip_value_problems, template_references
from prefect_datagen.columns.user_code import load_function
from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import CellError, ConfigError, InvalidAnswerError
from prefect_datagen.engine.values import fit, json_text

if TYPE_CHECKING:
    from prefect_datagen.columns.build import BuildContext
    from prefect_datagen.engine.node import ColumnNode


class TraceType(StrEnum):
    """What goes into `{name}__trace`."""

    NONE = "none"
    LAST_MESSAGE = "last_message"
    ALL_MESSAGES = "all_messages"


@dataclass(frozen=True)
class AnswerForm:
    """What a column wants of an answer, and how it reads one.

    Attributes:
        shape: how what `read` gives is kept.
        read: takes the answer's text and gives the cell's value, or raises `InvalidAnswerError`.
        instructions: put after the prompt, in words; empty for free text.
        schema: JSON schema offered to the endpoint as `response_format`, or None.
    """

    shape: Shape
    read: Callable[[str], Any]
    instructions: str = ""
    schema: dict[str, Any] | None = None


class LLMColumnConfig(ColumnConfig):
    """What all columns written by a chat model have in common."""

    prompt: str = Field(description="Jinja2 template of the user's message; reads other columns as {{ column }}.")
    model_alias: str = Field(min_length=1, description="Alias of one of `model_configs`.")
    system_prompt: str | None = Field(default=None, description="Jinja2 template of the system message.")
    multi_modal_context: list[MultiModalContext] | None = Field(
        default=None, description="Columns with images, audio or video that are sent along."
    )
    tool_alias: str | None = Field(
        default=None, min_length=1, description="Alias of one of `tool_configs`: tools that the model may use."
    )
    with_trace: TraceType = Field(default=TraceType.NONE, description="What `{name}__trace` holds, as JSON text.")
    extract_reasoning_content: bool = Field(
        default=False, description="Keep what the model reasoned in `{name}__reasoning_content`."
    )

    def answer_form(self) -> AnswerForm:
        """What the column wants of an answer.

        Raises:
            ConfigError: the config cannot say: a schema that is none, an import that fails.
        """
        raise NotImplementedError

    def produces(self) -> tuple[str, ...]:
        """The column, then its trace and its reasoning where they are wanted."""
        return (
            self.name,
            *([f"{self.name}__trace"] if self.with_trace is not TraceType.NONE else []),
            *([f"{self.name}__reasoning_content"] if self.extract_reasoning_content else []),
        )

    def references(self) -> Iterator[Reference]:
        """Columns that the prompts and the multi-modal context read."""
        yield from template_references(self.prompt, "prompt")
        yield from template_references(self.system_prompt, "system_prompt")
        for at, context in enumerate(self.multi_modal_context or []):
            yield Reference(context.column_name, f"multi_modal_context[{at}].column_name")

    def templates(self) -> Iterator[tuple[str, str]]:
        """Prompt and system prompt."""
        yield "prompt", self.prompt
        if self.system_prompt is not None:
            yield "system_prompt", self.system_prompt

    def model_aliases(self) -> Iterator[Reference]:
        """The model."""
        yield Reference(self.model_alias, "model_alias")

    def check(self) -> Iterator[tuple[str, str]]:
        """Whether the skip value could stand in the column."""
        return skip_value_problems(self, lambda: self.answer_form().shape.type)

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """That of the answer; trace and reasoning are text."""
        return (self.answer_form().shape.type, *[pa.string()] * (len(self.produces()) - 1))

    def build(self, context: BuildContext) -> ColumnNode:
        """One cell per row, on the model."""
        from prefect_datagen.columns.chat_generator import ChatGenerator
        from prefect_datagen.engine.node import ColumnNode, Strategy

        return ColumnNode(
            name=self.name,
            produces=self.produces(),
            inputs=tuple(dict.fromkeys(reference.column for reference in self.references())),
            strategy=Strategy.CELL,
            resource=self.model_alias,
            generator=ChatGenerator(self, context),
            types=self.types(context.types),
            skip=None if self.skip is None else TemplateSkip(self.skip),
            propagate_skip=self.propagate_skip,
        )


class LLMTextColumnConfig(LLMColumnConfig):
    """Text written by a model, kept as it was answered."""

    column_type: Literal["llm-text"] = "llm-text"

    def answer_form(self) -> AnswerForm:
        """Any text that is not blank."""
        return AnswerForm(TEXT, _read_text)


class LLMStructuredColumnConfig(LLMColumnConfig):
    """JSON written by a model, of a shape that is given."""

    column_type: Literal["llm-structured"] = "llm-structured"
    output_format: dict[str, Any] | str = Field(
        description="JSON schema, a pydantic model, or where to import one from: package.module:Model, file.py:Model."
    )

    @field_validator("output_format", mode="before")
    @classmethod
    def _schema_of_class(cls, value: Any) -> Any:
        if inspect.isclass(value) and issubclass(value, BaseModel):
            return value.model_json_schema()
        return value

    def schema_dict(self) -> dict[str, Any]:
        """The JSON schema.

        Raises:
            ConfigError: the model cannot be imported.
        """
        if isinstance(self.output_format, dict):
            return self.output_format
        model = load_function(self.output_format, self._folder)
        if not (inspect.isclass(model) and issubclass(model, BaseModel)):
            raise ConfigError(f"{self.output_format!r} is {model!r}, not a pydantic model")
        return model.model_json_schema()

    def answer_form(self) -> AnswerForm:
        """JSON that fits the schema."""
        return json_form(self.schema_dict())

    def check(self) -> Iterator[tuple[str, str]]:
        """Whether there is a schema, and the skip value fits it."""
        try:
            form = self.answer_form()
        except ConfigError as error:
            yield "output_format", error.message
            return
        yield from skip_value_problems(self, lambda: form.shape.type)

    def source_code(self) -> Iterable[str]:
        """The schema of an imported model: it changes when the model does."""
        return [] if isinstance(self.output_format, dict) else [json_text(self.schema_dict())]


def json_form(
    schema: dict[str, Any],
    *,
    prepare: Callable[[Any], Any] = lambda value: value,
    instructions: str | None = None,
) -> AnswerForm:
    """An answer in JSON. `prepare` may mend a value before it is checked; `instructions` stand in for the usual ones.

    Raises:
        ConfigError: it is no JSON schema.
    """
    check = SchemaCheck(schema)
    shape = shape_of_schema(schema)

    def read(text: str) -> Any:
        value = shape.store(parse_json_answer(text, check, prepare))
        try:
            return fit(value, shape.type)
        except CellError as error:  # such as an integer beyond 64 bits, which no schema forbids
            raise InvalidAnswerError(error.message) from error

    wanted = instructions or "Answer with one JSON value that fits this JSON schema, and nothing else:"
    return AnswerForm(shape, read, f"{wanted}\n{json_text(schema)}", schema)


def _read_text(text: str) -> str:
    if not text.strip():
        raise InvalidAnswerError("it is blank")
    return text
