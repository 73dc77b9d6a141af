"""What the engine asks of a journal of paid answers, and the keys that answers stand under."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from prefect_datagen.engine.node import RowKey


class AnswerJournal(Protocol):
    """Accepted answers by key, and what they cost. Used on one thread; what is put lasts from the next `commit`."""

    def get(self, key: bytes) -> bytes | None:
        """The answer, or None."""
        ...

    def put(self, key: bytes, answer: bytes) -> None:
        """Remember an answer."""
        ...

    def put_usage(self, usage: bytes) -> None:
        """Remember what the run spent so far, in the place of what was put before."""
        ...

    def commit(self) -> None:
        """Make everything put so far outlive a kill of this process. Cheap where nothing was put."""
        ...

    def rest(self) -> None:
        """Nothing will be put for a while: do what is put off while answers come. Cheap where nothing is."""
        ...


class NoJournal:
    """The journal of `--no-journal`: remembers nothing."""

    def get(self, key: bytes) -> bytes | None:
        """Never there."""
        return None

    def put(self, key: bytes, answer: bytes) -> None:
        """Forgotten at once."""

    def put_usage(self, usage: bytes) -> None:
        """Forgotten at once."""

    def commit(self) -> None:
        """Nothing to commit."""

    def rest(self) -> None:
        """Nothing was put off."""


_PREFIX, _DIGEST = 4, 12
"""Bytes of a journal key: the row's number, and a hash."""


def journal_key(endpoint: str, column: str, row: RowKey, body: Mapping[str, Any]) -> bytes:
    """What identifies the first answer to a request: the cell, and everything that is sent. 16 bytes.

    It begins with the row's number, so that keys of rows that are made together stand together in the journal's index.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST)
    digest.update(f"{endpoint}\x1f{column}\x1f{row.index}\x1f{row.copy}\x1f".encode())
    digest.update(orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str))
    return (row.index & 0xFFFFFFFF).to_bytes(_PREFIX, "big") + digest.digest()


class AskedKeys:
    """Journal keys of one cell's calls. A request that is answered again, as after a restart, gets a key of its own.

    A call that failed gives its key back, since nothing was paid for: the next try takes it, now or after a resume.
    """

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: set[bytes] = set()

    def take(self, first: bytes) -> bytes:
        """The key of the next call of a request whose first answer has the key `first`."""
        key, times = first, 0
        while key in self._taken:
            times += 1
            again = hashlib.blake2b(first + times.to_bytes(4, "big"), digest_size=_DIGEST)
            key = first[:_PREFIX] + again.digest()
        self._taken.add(key)
        return key

    def give_back(self, key: bytes) -> None:
        """The call had no answer."""
        self._taken.discard(key)
