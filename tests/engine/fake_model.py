"""A model client of ours for engine tests: scripted answers and faults, a gate to hold calls, counts of what it saw."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest
from prefect_datagen.engine.errors import ErrorKind, ModelError

Script = Callable[[str, int], ChatAnswer | ModelError]


def echo(prompt: str, call: int) -> ChatAnswer:
    """The default script: the prompt in angle brackets, one token each way."""
    return ChatAnswer(f"<{prompt}>", input_tokens=1, output_tokens=1)


def model_error(kind: ErrorKind, *, reason: str = "500", retry_after: float | None = None) -> ModelError:
    """An error as a client raises it."""
    return ModelError(
        f"{reason} from fake", kind=kind, reason=reason, endpoint="fake", retry_after=retry_after, status=None
    )


class FakeModel:
    """`script(prompt, n)` decides what the n-th call (from 0) of a prompt gets. `hold()` keeps calls until `let_go()`."""

    def __init__(self, script: Script = echo, *, endpoint: str = "fake") -> None:
        self.script = script
        self.endpoint = endpoint
        self.calls: Counter[str] = Counter()
        self.order: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled = 0
        self.closed = False
        self._gate = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._gate.set()

    def hold(self) -> None:
        """Keep calls from now on."""
        self._gate.clear()

    def let_go(self) -> None:
        """Answer all kept calls."""
        self._gate.set()

    async def reached(self, calls: int) -> None:
        """Wait until so many calls are in flight."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.in_flight >= calls)

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        """Answer, or raise, as scripted."""
        prompt = request.messages[-1]["content"]
        number = self.calls[prompt]
        self.calls[prompt] += 1
        self.order.append(prompt)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        async with self._arrived:
            self._arrived.notify_all()
        try:
            await asyncio.sleep(0)
            await self._gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        answer = self.script(prompt, number)
        if isinstance(answer, ModelError):
            raise answer
        return answer

    async def aclose(self) -> None:
        """Note that it was closed."""
        self.closed = True

    @property
    def total(self) -> int:
        """Calls in all."""
        return sum(self.calls.values())
