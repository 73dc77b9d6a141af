"""Calls to one HTTP endpoint that serves models: aiohttp and orjson, because every call of a run goes through here.

Measured when this was designed: 3,000 calls to a zero-latency endpoint took 0.6 s with aiohttp, 5 to 6 s with httpx or
the openai client. What does not change from call to call (headers, URL, proxy) is made once.
"""

from __future__ import annotations

import math
import re
import urllib.request
from collections.abc import Mapping
from typing import Any, NoReturn

import aiohttp
import orjson
from pydantic import SecretStr
from yarl import URL

from prefect_datagen.engine.errors import ConfigError, ErrorKind, ModelError
from prefect_datagen.models.completion import Reply
from prefect_datagen.models.config import names_secret

_KEEP_ALIVE_SECONDS = 30.0
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_REDACTED = "[redacted]"
_MOST_URLS = 16  # kept: those of the few routes that are asked over and over, and not those of every file and batch


class HttpEndpoint:
    """An endpoint on one event loop. The session opens with the first call.

    There is no limit of connections here: limits stand above the client. It does not follow redirects, since a POST
    would arrive as a GET, and the key at another host.

    Args:
        base: base URL such as `http://127.0.0.1:8000/v1`; a query (`?api-version=...`) is kept in each call.
        key_headers: headers that carry the key; none is shown anywhere.
        headers: sent with each request.
        extra_headers: the same; one of the same name as another replaces it.
        connect_timeout: seconds to open a connection.
        read_timeout: seconds without a byte.

    Raises:
        ConfigError: the endpoint is not an HTTP URL without credentials, or a header holds control characters.
    """

    def __init__(
        self,
        base: str,
        *,
        key_headers: Mapping[str, SecretStr],
        headers: Mapping[str, str] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 120.0,
    ) -> None:
        self._base = _checked_url(base)
        self.name = str(self._base.with_query(None)).rstrip("/")
        self._urls: dict[str, URL] = {}
        self._key_headers = dict(key_headers)
        self._fixed_headers = dict(headers or {})
        self._extra_headers = {name: SecretStr(value) for name, value in (extra_headers or {}).items()}
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._session: aiohttp.ClientSession | None = None
        _check_headers(self._headers())

    def __reduce__(self) -> NoReturn:
        raise TypeError("an endpoint at work cannot be pickled: it holds a key and open connections")

    async def post(self, route: str, body: dict[str, Any], *, timeout: float | None) -> Reply:
        """Send JSON; `timeout` bounds the whole call in seconds.

        Raises:
            ModelError: no whole answer came (retryable, but for a certificate), or no JSON can be made of the body.
        """
        try:
            data = orjson.dumps(body)
        except TypeError as error:
            # Half of a surrogate pair in a text, which is not valid Unicode; or a value that JSON does not know.
            raise ModelError(
                f"the request to {self.name} is not valid JSON: {error}",
                kind=ErrorKind.PERMANENT,
                reason="unsendable request",
                endpoint=self.name,
            ) from error
        return await self._send("POST", self._url(route), data, timeout=timeout)

    async def get(self, route: str, *, timeout: float | None) -> Reply:
        """Ask for a resource.

        Raises:
            ModelError: as for `post`.
        """
        return await self._send("GET", self._url(route), None, timeout=timeout)

    async def request(
        self, method: str, route: str, data: bytes | None, *, query: dict[str, str] | None = None
    ) -> Reply:
        """Send anything; `data` is JSON, and `query` is added to that of the endpoint.

        Raises:
            ModelError: as for `post`.
        """
        return await self._send(method, self._url(route).update_query(query or {}), data, timeout=None)

    async def upload(self, route: str, name: str, data: bytes, fields: dict[str, str]) -> Reply:
        """Send a file as `multipart/form-data`, in the field `file`, with other fields before it.

        Raises:
            ModelError: as for `post`.
        """
        form = aiohttp.FormData(fields)
        form.add_field("file", data, filename=name, content_type="application/jsonl")
        content = form()
        kind = content.headers["Content-Type"]
        return await self._send("POST", self._url(route), content, timeout=None, headers={"Content-Type": kind})

    async def aclose(self) -> None:
        """Close all connections. May be called twice; a later call would open new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(
        self,
        method: str,
        url: URL,
        data: bytes | aiohttp.Payload | None,
        *,
        timeout: float | None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        session = self._session or self._open()
        try:
            async with session.request(
                method, url, data=data, headers=headers, timeout=self._timeouts(timeout), allow_redirects=False
            ) as response:
                return Reply(self.name, response.status, response.headers, await response.read())
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            failure, cause = self._failure(error, timeout), error
        # Outside the handler: aiohttp's response errors hold the request's headers, and so the key.
        raise failure from (None if isinstance(cause, aiohttp.ClientResponseError) else cause)

    def _url(self, route: str) -> URL:
        url = self._urls.get(route)
        if url is None:
            url = (self._base / route).with_query(self._base.query)
            if len(self._urls) < _MOST_URLS:
                self._urls[route] = url
        return url

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers(),
            proxy=_environment_proxy(self._base),
        )
        return self._session

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "prefect-datagen", **self._fixed_headers}
        for name, value in (*self._key_headers.items(), *self._extra_headers.items()):
            same = next((known for known in headers if known.lower() == name.lower()), name)
            headers[same] = value.get_secret_value()
        return headers

    def _timeouts(self, whole_call: float | None) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=whole_call,
            connect=self._connect_timeout,  # the look-up of the host included
            sock_connect=self._connect_timeout,
            sock_read=self._read_timeout,
        )

    def _failure(self, error: Exception, whole_call: float | None) -> ModelError:
        """A call that got no whole answer."""
        kind, reason = ErrorKind.RETRYABLE, "connection"
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            reason, what = "timeout", f"no connection within {min(self._connect_timeout, whole_call or math.inf):g} s"
        elif isinstance(error, aiohttp.SocketTimeoutError):
            reason, what = "timeout", f"nothing received for {self._read_timeout:g} s"
        elif isinstance(error, TimeoutError):
            reason, what = "timeout", f"no whole answer within {whole_call or 0:g} s"
        elif isinstance(error, aiohttp.ClientPayloadError):
            what = "the answer was cut off"
        elif isinstance(error, aiohttp.ClientResponseError):
            what = f"not understood: {error.message}"  # str(error) would show the URL with its query
        elif isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError)):
            # A certificate does not heal by waiting.
            kind, reason, what = ErrorKind.PERMANENT, "tls", str(error)
        else:
            what = str(error) or type(error).__name__
        return ModelError(f"{reason} at {self.name}: {self.redact(what)}", kind=kind, reason=reason, endpoint=self.name)

    def redact(self, text: str) -> str:
        """The text without the key, and without headers and parts of the query that look secret."""
        named = [
            *self._extra_headers.items(),
            *((name, SecretStr(value)) for name, value in self._base.query.items()),
        ]
        secrets = [secret.get_secret_value() for name, secret in named if names_secret(name)]
        secrets += [secret.get_secret_value() for secret in self._key_headers.values()]
        for secret in secrets:
            # Without its scheme, too: of `Bearer abc` an endpoint may echo `abc`.
            for shown in (secret, *secret.split()[1:]):
                text = text.replace(shown, _REDACTED) if shown else text
        return text


def _checked_url(endpoint: str) -> URL:
    if "@" in endpoint.partition("://")[2].partition("/")[0]:
        # Not shown: it holds a password.
        raise ConfigError("the endpoint's URL holds a user or password: give the key as api_key instead")
    try:
        url = URL(endpoint)
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError("it is not http://... or https://...")
    except ValueError as error:
        shown = endpoint.partition("?")[0]
        raise ConfigError(f"endpoint {shown!r} is not a base URL such as http://127.0.0.1:8000/v1: {error}") from error
    return url


def _check_headers(headers: dict[str, str]) -> None:
    for name, value in headers.items():
        if _CONTROL_CHARACTERS.search(name + value):
            raise ConfigError(f"header {name!r}: its name or value holds control characters, such as a line's end")


def _environment_proxy(url: URL) -> str | None:
    """The proxy that http_proxy, https_proxy and no_proxy name; none for this machine itself.

    aiohttp's `trust_env` would look it up for each call anew.
    """
    host = url.host or ""
    if host in _THIS_MACHINE or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(url.scheme)
