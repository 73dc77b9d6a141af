"""Filling a column that a chat model writes: prompts, media, parameters of each row, and the conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_datagen.columns.build import BuildContext
from prefect_datagen.columns.conversation import Exchange, Patience, converse
from prefect_datagen.columns.inference import RequestParameters, model_for
from prefect_datagen.columns.llm import LLMColumnConfig, TraceType
from prefect_datagen.columns.media import MediaParts
from prefect_datagen.columns.readable import Readable
from prefect_datagen.columns.template import Template, TemplateError
from prefect_datagen.engine.chat import ChatRequest, Message
from prefect_datagen.engine.errors import CellError
from prefect_datagen.engine.node import Cell
from prefect_datagen.engine.values import json_text
from prefect_datagen.models.config import ChatInferenceParameters


class ChatGenerator:
    """Makes one cell by a conversation with a model."""

    def __init__(self, config: LLMColumnConfig, context: BuildContext) -> None:
        model = model_for(context, config.model_alias, column=config.name, kind=ChatInferenceParameters)
        self._alias = config.model_alias
        self._form = config.answer_form()
        self._prompt = Prompt(config.prompt, context, "prompt")
        self._system = None if config.system_prompt is None else Prompt(config.system_prompt, context, "system_prompt")
        self._media = MediaParts(config.multi_modal_context or [], context.artifact_dir)
        self._has_media = bool(config.multi_modal_context)
        self._parameters = RequestParameters(model, column=config.name, seed=context.seed)
        self._patience = Patience(context.max_conversation_restarts, context.max_conversation_correction_steps)
        self._tools = config.tool_alias
        self._trace = config.with_trace
        self._reasoning = config.extract_reasoning_content

    async def generate(self, cell: Cell) -> tuple[Any, ...]:
        """The answer, then its trace and reasoning where they are wanted.

        Raises:
            ModelError: the endpoint failed.
            CellError: no answer could be used, or the prompt cannot be rendered.
        """
        request = ChatRequest(
            model=self._parameters.model,
            messages=await self._messages(cell.inputs),
            parameters=self._parameters.for_row(cell.row),
            response_schema=self._form.schema,
        )
        exchange = await converse(
            cell.models, self._alias, request, read=self._form.read, patience=self._patience, tools=self._tools
        )
        values: list[Any] = [exchange.value]
        if self._trace is not TraceType.NONE:
            messages = _traced(exchange)
            values.append(json_text(messages if self._trace is TraceType.ALL_MESSAGES else messages[-1:]))
        if self._reasoning:
            values.append(exchange.answer.reasoning)
        return tuple(values)

    async def _messages(self, inputs: Mapping[str, Any]) -> list[Message]:
        text = self._prompt.render(inputs)
        if self._form.instructions:
            text = f"{text}\n\n{self._form.instructions}"
        content: str | list[dict[str, Any]] = text
        if self._has_media:
            content = [*await self._media.of_row(inputs), {"type": "text", "text": text}]
        user = {"role": "user", "content": content}
        if self._system is None:
            return [user]
        return [{"role": "system", "content": self._system.render(inputs)}, user]


class Prompt:
    """A template of a prompt, and how the values that it reads look in it."""

    def __init__(self, text: str, context: BuildContext, field: str) -> None:
        self._template = Template(text)
        self._readable = Readable.of(self._template, context.types)
        self._field = field

    def render(self, inputs: Mapping[str, Any]) -> str:
        """The prompt of a row.

        Raises:
            CellError: reason "template".
        """
        try:
            return self._template.render(self._readable.row(inputs))
        except TemplateError as error:
            raise CellError(f"{self._field}: {error.message}", reason="template") from error


def _traced(exchange: Exchange[Any]) -> list[Message]:
    """The conversation, with what the model reasoned before its last answer."""
    messages = list(exchange.messages)
    if exchange.answer.reasoning:
        messages[-1] = {**messages[-1], "reasoning_content": exchange.answer.reasoning}
    return messages
