"""Calls that go to a provider in batches, and take hours: what the engine asks of their client, and what is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from prefect_datagen.engine.chat import ChatClient


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """A look at the batches of one alias. Requests that wait to be sent, that are at the provider, that came back."""

    collecting: int
    batches: int
    submitted: int
    finished: int

    def __str__(self) -> str:
        """In words, for progress lines."""
        waiting = f", {self.collecting:,} to be submitted" if self.collecting else ""
        return f"{self.finished:,} of {self.submitted:,} requests in {self.batches} batches finished{waiting}"


@runtime_checkable
class BatchClient(Protocol):
    """A client that hands calls to its provider in batches: answers take minutes to hours, and outlive this process.

    A call is known by its journal key, so that the run after a kill finds again what the provider has been given.
    """

    def named(self, key: bytes) -> ChatClient:
        """The client for the one call of this key. What was asked under the key before is not asked again."""
        ...

    def settle(self, key: bytes) -> None:
        """The call's answer is in the journal, or its failure is known: the next call of this key is a new one."""
        ...

    def leave(self) -> None:
        """The run ends: calls that wait are cancelled, nothing more is submitted. What the provider has, it keeps."""
        ...

    def statistics(self) -> BatchStatistics:
        """How far they are."""
        ...


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch as it is written down: our id, the provider's once it is known, and the keys that are not settled."""

    id: str
    remote_id: str | None
    keys: tuple[bytes, ...]


class BatchLedger(Protocol):
    """Batches on disk. All but `settle` are there when they return; `settle` is from the journal's next commit on."""

    def batches(self, endpoint: str) -> list[BatchRecord]:
        """Batches of an endpoint with keys that are not settled, oldest first."""
        ...

    def put_batch(self, id: str, endpoint: str, keys: Sequence[bytes]) -> None:
        """A batch will be submitted."""
        ...

    def name_batch(self, id: str, remote_id: str) -> None:
        """It was, and this is the provider's id of it."""
        ...

    def drop_batch(self, id: str) -> None:
        """The provider never had it, or has it no more."""
        ...

    def settle(self, id: str, key: bytes) -> None:
        """The answer of this key is in the journal, or its failure is known."""
        ...
