"""Models by alias for user code: what a custom column's function gets as `models`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from prefect_datagen.columns.conversation import Patience, converse
from prefect_datagen.columns.inference import RequestParameters
from prefect_datagen.engine.chat import ChatAnswer, ChatRequest, Message
from prefect_datagen.engine.errors import InvalidAnswerError
from prefect_datagen.engine.node import Cell

if TYPE_CHECKING:
    import asyncio

Result = TypeVar("Result")


class Reply(NamedTuple):
    """What `generate` gives: the answer as the parser read it, and everything that was said."""

    output: Any
    messages: Sequence[Message]


class CellModel:
    """One model, for one cell of an async function. Limits, retries, journal and accounting are those of the run."""

    def __init__(self, alias: str, cell: Cell, parameters: RequestParameters) -> None:
        self._alias = alias
        self._cell = cell
        self._parameters = parameters

    async def chat(self, messages: Sequence[Message]) -> ChatAnswer:
        """One call with the model's own parameters. Raises `ModelError`: let it pass, the engine retries or rejects."""
        return await self._cell.models.chat(self._alias, self._request(messages))

    async def generate(
        self,
        prompt: str,
        *,
        system_prompt: str | None = None,
        parser: Callable[[str], Any] = str,
        max_correction_steps: int = 0,
        max_conversation_restarts: int = 0,
    ) -> Reply:
        """The answer to a prompt. A `ValueError` of `parser` is shown to the model in a correction round.

        Raises:
            ModelError: the endpoint failed; let it pass.
            CellError: no answer could be used; the row is rejected.
        """
        messages: list[Message] = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
        messages.append({"role": "user", "content": prompt})

        def read(text: str) -> Any:
            try:
                return parser(text)
            except ValueError as error:
                raise InvalidAnswerError(str(error)) from error

        exchange = await converse(
            self._cell.models,
            self._alias,
            self._request(messages),
            read=read,
            patience=Patience(max_conversation_restarts, max_correction_steps),
        )
        return Reply(exchange.value, exchange.messages)

    def _request(self, messages: Sequence[Message]) -> ChatRequest:
        return ChatRequest(self._parameters.model, list(messages), self._parameters.for_row(self._cell.row))


class BlockingCellModel:
    """The same for a function that runs in a thread: its calls are made on the engine's loop, and waited for."""

    def __init__(self, model: CellModel, bridge: LoopBridge) -> None:
        self._model = model
        self._bridge = bridge

    def chat(self, messages: Sequence[Message]) -> ChatAnswer:
        """See `CellModel.chat`."""
        return self._bridge.run(self._model.chat(messages))

    def generate(self, prompt: str, **options: Any) -> Reply:
        """See `CellModel.generate`."""
        return self._bridge.run(self._model.generate(prompt, **options))


class LoopBridge:
    """Runs coroutines on the loop for one thread. After `close` none of them runs, and no other starts."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._open = True
        self._running: Future[Any] | None = None

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The coroutine's result. Called in the thread."""
        if not self._open:
            work.close()
            raise CancelledError("the cell was cancelled")
        import asyncio

        future: Future[Result] = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._running = future
        if not self._open:  # closed in between
            future.cancel()
        return future.result()

    def close(self) -> None:
        """Cancel what runs. Called on the loop."""
        self._open = False
        if self._running is not None:
            self._running.cancel()
