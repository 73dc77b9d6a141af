"""Batch mode against a real server and a real journal: what is collected, dealt out, classified, and found again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest, EmbeddingRequest
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.models.batch import OpenAIBatchClient
from prefect_datagen.models.config import BatchParameters
from prefect_datagen.models.openai import OpenAIClient
from prefect_datagen.storage.journal import Journal
from tests.mock_server import MockServer

T = TypeVar("T")
QUICK = {"linger_seconds": 0.05, "poll_seconds": 0.02, "longest_poll_seconds": 0.05}


def request(number: int, **more: Any) -> ChatRequest:
    return ChatRequest("m", [{"role": "user", "content": f"Number {number}."}], **more)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


class Desk:
    """A batch client at work, with the journal that it writes to, and what it told."""

    def __init__(self, url: str, folder: Path, *, patience: float = 5.0, **parameters: Any) -> None:
        self.journal = Journal.open(folder / "journal.sqlite")
        self.live = OpenAIClient(url)
        self.told: list[str] = []
        self.submitted = asyncio.Event()
        self.client = OpenAIBatchClient(
            self.live,
            alias="writer",
            parameters=BatchParameters.model_validate({**QUICK, **parameters}),
            ledger=self.journal,
            patience=patience,
            notify=self._hear,
        )

    def _hear(self, text: str) -> None:
        self.told.append(text)
        self.submitted.set()

    async def ask(self, number: int) -> ChatAnswer:
        """As the engine does: an answer goes to the journal, and is settled then."""
        answer = await self.client.named(key(number)).chat(request(number))
        self.journal.put(key(number), answer.pack())
        self.client.settle(key(number))
        return answer

    async def ask_all(self, numbers: range) -> list[ChatAnswer | BaseException]:
        return await asyncio.gather(*(self.ask(number) for number in numbers), return_exceptions=True)

    async def close(self) -> None:
        await self.client.aclose()
        await self.live.aclose()
        self.journal.close()

    async def vanish(self) -> None:
        """Let go of everything as a killed process does: nothing that is not on disk outlives it."""
        for task in list(self.client._tasks):
            task.cancel()
        await self.live.aclose()
        self.journal._connection.close()


def at_desk(url: str, folder: Path, work: Callable[[Desk], Awaitable[T]], **options: Any) -> T:
    async def main() -> T:
        desk = Desk(url, folder, **options)
        try:
            return await work(desk)
        finally:
            await desk.close()

    return asyncio.run(main())


def unsettled(folder: Path, url: str) -> int:
    with Journal.open(folder / "journal.sqlite") as journal:
        return sum(len(batch.keys) for batch in journal.batches(url))


def test_answers_are_those_of_live_calls(mock_server: MockServer, tmp_path: Path) -> None:
    answers = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(30)))
    stats = mock_server.stats()
    assert (stats.batches, stats.batched_requests) == (1, 30)

    async def live() -> list[ChatAnswer]:
        client = OpenAIClient(mock_server.url)
        try:
            return [await client.chat(request(number)) for number in range(30)]
        finally:
            await client.aclose()

    assert answers == asyncio.run(live())
    assert unsettled(tmp_path, mock_server.url) == 0


def test_a_batch_goes_out_when_it_is_full(mock_server: MockServer, tmp_path: Path) -> None:
    full = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(25)), max_requests=10, linger_seconds=0.3)
    assert all(isinstance(answer, ChatAnswer) for answer in full)
    assert mock_server.stats().batches == 3


def test_a_batch_goes_out_before_its_file_is_too_large(mock_server: MockServer, tmp_path: Path) -> None:
    answers = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(25)), max_bytes=1_500)
    assert all(isinstance(answer, ChatAnswer) for answer in answers)
    assert mock_server.stats().batches == 3


def test_it_goes_out_at_last_where_requests_never_stop(mock_server: MockServer, tmp_path: Path) -> None:
    async def drip(desk: Desk) -> int:
        asking = []
        while not desk.told:
            asking.append(asyncio.ensure_future(desk.ask(len(asking))))
            await asyncio.sleep(0.01)
        await asyncio.gather(*asking)
        return len(asking)

    asked = at_desk(mock_server.url, tmp_path, drip, linger_seconds=30, longest_wait_seconds=0.2, max_requests=50_000)
    assert asked > 1


def test_a_request_that_fits_no_batch_is_refused_by_itself(mock_server: MockServer, tmp_path: Path) -> None:
    async def work(desk: Desk) -> tuple[object, object]:
        large = ChatRequest("m", [{"role": "user", "content": "x" * 2_000}])
        both = desk.client.named(key(1)).chat(large), desk.ask(2)
        return tuple(await asyncio.gather(*both, return_exceptions=True))  # type: ignore[return-value]

    large, small = at_desk(mock_server.url, tmp_path, work, max_bytes=1_000)
    assert isinstance(large, ModelError)
    assert (large.kind, large.reason) == (ErrorKind.PERMANENT, "unsendable request")
    assert isinstance(small, ChatAnswer)


def test_models_and_routes_do_not_share_a_batch(mock_server: MockServer, tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        other = ChatRequest("n", [{"role": "user", "content": "Other."}])
        vectors, *_ = await asyncio.gather(
            desk.client.named(key(7)).embed(EmbeddingRequest("m", ["one", "two"])),
            desk.client.named(key(8)).chat(other),
            desk.ask(9),
        )
        assert len(vectors.vectors) == 2

    at_desk(mock_server.url, tmp_path, work)
    assert mock_server.stats().batches == 3


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("400", ErrorKind.PERMANENT, "400"),
        ("429", ErrorKind.RETRYABLE, "429"),
        ("500", ErrorKind.RETRYABLE, "500"),
        ("empty", ErrorKind.PERMANENT, "unusable answer"),
        ("no-choices", ErrorKind.PERMANENT, "unusable answer"),
        ("html", ErrorKind.PERMANENT, "unusable answer"),
        ("reset", ErrorKind.RETRYABLE, "batch error"),
    ],
)
def test_a_request_that_failed_is_classified_by_itself(
    mock_server: MockServer, tmp_path: Path, fault: str, kind: ErrorKind, reason: str
) -> None:
    mock_server.become(fail_prompt_regex="Number [0-4]", fail_prompt_code=fault)
    answers = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(10)))
    for answer in answers[:5]:
        assert isinstance(answer, ModelError)
        assert (answer.kind, answer.reason) == (kind, reason)
    assert all(isinstance(answer, ChatAnswer) for answer in answers[5:])
    assert unsettled(tmp_path, mock_server.url) == 0


def test_a_failed_request_that_is_asked_again_goes_with_the_next_batch(mock_server: MockServer, tmp_path: Path) -> None:
    mock_server.become(fail_first=1)

    async def work(desk: Desk) -> ChatAnswer:
        with pytest.raises(ModelError, match="500"):
            await desk.ask(1)
        return await desk.ask(1)

    assert at_desk(mock_server.url, tmp_path, work).text
    assert mock_server.stats().batches == 2


def test_where_response_format_is_refused_it_is_left_out(mock_server: MockServer, tmp_path: Path) -> None:
    mock_server.become(refuse_response_format=True)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    async def work(desk: Desk) -> ChatAnswer:
        return await desk.client.named(key(1)).chat(request(1, response_schema=schema))

    assert at_desk(mock_server.url, tmp_path, work).text
    assert mock_server.stats().batches == 2


def test_what_expired_is_retryable_and_what_came_counts(mock_server: MockServer, tmp_path: Path) -> None:
    mock_server.become(batch_ends=["expired"])
    answers = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(10)))
    lost = [answer for answer in answers if isinstance(answer, ModelError)]
    assert len(lost) == 5
    assert {(error.kind, error.reason) for error in lost} == {(ErrorKind.RETRYABLE, "batch expired")}


def test_a_cancelled_batch_ends_the_run_and_its_requests_may_be_sent_again(
    mock_server: MockServer, tmp_path: Path
) -> None:
    mock_server.become(batch_ends=["cancelled"])
    answers = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(10)))
    assert [error.kind for error in answers if isinstance(error, ModelError)] == [ErrorKind.FATAL] * 5
    lost = [number for number, answer in enumerate(answers) if isinstance(answer, ModelError)]
    again = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(lost[0], lost[-1] + 1)))
    assert all(isinstance(answer, ChatAnswer) for answer in again)
    assert mock_server.stats().repeated_requests == 0


def test_where_too_much_is_queued_the_batch_is_submitted_later(mock_server: MockServer, tmp_path: Path) -> None:
    mock_server.become(batch_ends=["token_limit_exceeded"])
    answers = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(5)))
    assert all(isinstance(answer, ChatAnswer) for answer in answers)
    assert mock_server.stats().batches == 2


@pytest.mark.parametrize("fault", ["500", "lost-reply"])
def test_a_batch_is_created_once(mock_server: MockServer, tmp_path: Path, fault: str) -> None:
    """Also where the reply to its creation is lost: it is looked for by our own id before it is created again."""
    mock_server.become(batch_fault=fault)
    answers = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(5)))
    assert all(isinstance(answer, ChatAnswer) for answer in answers)
    assert mock_server.stats().batches == 1


def test_a_refused_key_and_a_dead_endpoint_end_the_run(mock_server: MockServer, tmp_path: Path) -> None:
    mock_server.become(require_key="right")
    [refused] = at_desk(mock_server.url, tmp_path / "a", lambda desk: desk.ask_all(range(1)))
    assert isinstance(refused, ModelError)
    assert (refused.kind, refused.status) == (ErrorKind.FATAL, 401)
    [dead] = at_desk("http://127.0.0.1:9/v1", tmp_path / "b", lambda desk: desk.ask_all(range(1)), patience=0.1)
    assert isinstance(dead, ModelError)
    assert (dead.kind, dead.reason) == (ErrorKind.FATAL, "connection")


@pytest.mark.parametrize("named", [True, False])
def test_a_later_process_takes_up_what_runs(mock_server: MockServer, tmp_path: Path, named: bool) -> None:
    """Whether or not the first had learnt the provider's id before it died."""
    mock_server.become(hold=True)

    async def first() -> None:
        desk = Desk(mock_server.url, tmp_path)
        asking = asyncio.gather(*(desk.ask(number) for number in range(20)), return_exceptions=True)
        await desk.submitted.wait()
        if not named:
            desk.journal._connection.execute("UPDATE batches SET remote_id = NULL")
        await desk.vanish()
        asking.cancel()

    asyncio.run(first())
    assert unsettled(tmp_path, mock_server.url) == 20
    mock_server.control(hold=False)
    answers = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(20)))
    assert all(isinstance(answer, ChatAnswer) for answer in answers)
    stats = mock_server.stats()
    assert (stats.batches, stats.repeated_requests) == (1, 0)
    assert unsettled(tmp_path, mock_server.url) == 0


def test_a_batch_that_never_reached_the_provider_is_sent_then(mock_server: MockServer, tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        journal.put_batch("never-sent", mock_server.url, [key(number) for number in range(5)])
    answers = at_desk(mock_server.url, tmp_path, lambda desk: desk.ask_all(range(5)))
    assert all(isinstance(answer, ChatAnswer) for answer in answers)
    assert mock_server.stats().batches == 1


def test_when_a_run_ends_calls_are_cancelled_and_batches_go_on(mock_server: MockServer, tmp_path: Path) -> None:
    mock_server.become(hold=True)

    async def work(desk: Desk) -> list[ChatAnswer | BaseException]:
        asking = asyncio.ensure_future(desk.ask_all(range(10)))
        await desk.submitted.wait()
        assert str(desk.client.statistics()) == "0 of 10 requests in 1 batches finished"
        desk.client.leave()
        with pytest.raises(asyncio.CancelledError):
            await desk.ask(99)
        ended = await asking
        await desk.client.aclose()
        assert "10 requests go on" in desk.told[-1]
        return ended

    ended = at_desk(mock_server.url, tmp_path, work)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    assert unsettled(tmp_path, mock_server.url) == 10
