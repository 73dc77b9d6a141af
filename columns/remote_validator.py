"""Validation by an HTTP service: `{"data": [record, ...]}` is posted, `{"data": [{"is_valid": ...}, ...]}` comes back."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import orjson

from prefect_datagen.engine.errors import CellError, InternalError

_FIRST_DELAY = 0.25  # seconds before the first retry; each further one waits `retry_backoff` times as long
_REASON = "remote validator"


class RemoteValidator:
    """One endpoint. Blocking: runs in worker threads, any number of them."""

    def __init__(self, url: str, *, timeout: float, max_retries: int, retry_backoff: float) -> None:
        self._url = url
        self._timeout = timeout
        self._max_retries = max_retries
        self._retry_backoff = retry_backoff

    def verdicts(self, records: Sequence[dict[str, Any]]) -> list[Any]:
        """What the service says of each record, in order.

        429, 5xx, a broken connection and a timeout are tried again.

        Raises:
            CellError: the service failed to the end, or its answer is no list of as many verdicts.
        """
        body = orjson.dumps({"data": list(records)}, default=str)
        for attempt in itertools.count():
            try:
                return self._read(self._post(body), len(records))
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()  # it is the response, too, with its connection
                if attempt >= self._max_retries or not _may_pass(error):
                    raise CellError(f"{self._url}: {_described(error)}", reason=_REASON) from error
                time.sleep(self._delay(attempt, error))
        raise InternalError("the loop above ends by return or raise")

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        with urllib.request.urlopen(request, timeout=self._timeout) as response:
            return response.read()  # type: ignore[no-any-return]

    def _read(self, body: bytes, wanted: int) -> list[Any]:
        try:
            verdicts = json.loads(body)["data"]
        except (ValueError, KeyError, TypeError) as error:
            shown = body[:80].decode(errors="replace")
            raise CellError(
                f'{self._url}: the answer is not {{"data": [...]}} but {shown!r}', reason=_REASON
            ) from error
        if not isinstance(verdicts, list) or len(verdicts) != wanted:
            got = len(verdicts) if isinstance(verdicts, list) else type(verdicts).__name__
            raise CellError(f"{self._url}: {got} verdicts for {wanted} records", reason=_REASON)
        return verdicts

    def _delay(self, attempt: int, error: Exception) -> float:
        """Seconds to wait: growing, with jitter, and as long as the service asks at least."""
        delay = _FIRST_DELAY * self._retry_backoff**attempt * random.uniform(0.75, 1.25)
        asked = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
        return max(delay, float(asked)) if asked.isdigit() else delay


def _may_pass(error: Exception) -> bool:
    return not isinstance(error, urllib.error.HTTPError) or error.code == 429 or error.code >= 500


def _described(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return f"{type(reason).__name__}: {reason}"
