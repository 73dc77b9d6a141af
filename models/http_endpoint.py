"""Calls to one HTTP endpoint that serves models: what is sent with each, and what its failures mean."""

from __future__ import annotations

import re
import secrets
import ssl
import urllib.request
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson
from pydantic import SecretStr
from yarl import URL

from prefect_datagen.engine.errors import ConfigError, ErrorKind, ModelError
from prefect_datagen.models.completion import Reply
from prefect_datagen.models.config import names_secret
from prefect_datagen.models.http_client import HttpClient

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_REDACTED = "[redacted]"


class HttpEndpoint:
    """An endpoint on one event loop. Connections open with the calls that need them.

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
        self._key_headers = dict(key_headers)
        self._fixed_headers = dict(headers or {})
        self._extra_headers = {name: SecretStr(value) for name, value in (extra_headers or {}).items()}
        self._targets: dict[str, str] = {}
        _check_headers(self._headers())
        self._client = HttpClient(
            self._base,
            headers=self._headers(),
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            proxy=_environment_proxy(self._base),
        )

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
        return await self._send("POST", self._target(route), data, timeout=timeout)

    async def get(self, route: str, *, timeout: float | None) -> Reply:
        """Ask for a resource.

        Raises:
            ModelError: as for `post`.
        """
        return await self._send("GET", self._target(route), None, timeout=timeout)

    async def request(
        self, method: str, route: str, data: bytes | None, *, query: dict[str, str] | None = None
    ) -> Reply:
        """Send anything; `data` is JSON, and `query` is added to that of the endpoint.

        Raises:
            ModelError: as for `post`.
        """
        return await self._send(method, self._url(route).update_query(query or {}).raw_path_qs, data, timeout=None)

    async def upload(self, route: str, name: str, data: bytes, fields: dict[str, str]) -> Reply:
        """Send a file as `multipart/form-data`, in the field `file`, with other fields before it.

        Raises:
            ModelError: as for `post`.
        """
        boundary = secrets.token_hex(16)
        parts = [(f'name="{field}"', value.encode()) for field, value in fields.items()]
        parts.append((f'name="file"; filename="{name}"\r\nContent-Type: application/jsonl', data))
        body = b"".join(
            f"--{boundary}\r\nContent-Disposition: form-data; {described}\r\n\r\n".encode() + part + b"\r\n"
            for described, part in parts
        )
        return await self._send(
            "POST",
            self._url(route).raw_path_qs,
            body + f"--{boundary}--\r\n".encode(),
            timeout=None,
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )

    async def aclose(self) -> None:
        """Close all connections. May be called twice; a later call would open new ones."""
        await self._client.aclose()

    async def _send(
        self,
        method: str,
        target: str,
        data: bytes | None,
        *,
        timeout: float | None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        try:
            response = await self._client.request(method, target, data, timeout=timeout, headers=headers)
        except OSError as error:
            raise self._failure(error) from error
        return Reply(self.name, response.status, response.headers, response.data)

    def _target(self, route: str) -> str:
        """Path and query of one of the few routes that are asked over and over."""
        target = self._targets.get(route)
        if target is None:
            target = self._targets[route] = self._url(route).raw_path_qs
        return target

    def _url(self, route: str) -> URL:
        return (self._base / route).with_query(self._base.query)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "prefect-datagen", **self._fixed_headers}
        for name, value in (*self._key_headers.items(), *self._extra_headers.items()):
            same = next((known for known in headers if known.lower() == name.lower()), name)
            headers[same] = value.get_secret_value()
        return headers

    def _failure(self, error: OSError) -> ModelError:
        """A call that got no whole answer."""
        kind, reason = ErrorKind.RETRYABLE, "connection"
        if isinstance(error, TimeoutError):
            reason = "timeout"
        elif isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            kind, reason = ErrorKind.PERMANENT, "tls"  # a certificate does not heal by waiting
        what = self.redact(str(error) or type(error).__name__)
        return ModelError(f"{reason} at {self.name}: {what}", kind=kind, reason=reason, endpoint=self.name)

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


def _environment_proxy(url: URL) -> URL | None:
    """The proxy that http_proxy, https_proxy and no_proxy name; none for this machine itself.

    Raises:
        ConfigError: it is of a kind that is not spoken here.
    """
    host = url.host or ""
    if host in _THIS_MACHINE or urllib.request.proxy_bypass(host):
        return None
    named = urllib.request.getproxies().get(url.scheme)
    if not named:
        return None
    proxy = URL(named if "://" in named else f"http://{named}")
    if proxy.scheme not in {"http", "https"} or not proxy.host:
        # Its text is not shown: it may hold a password.
        raise ConfigError(f"{url.scheme}_proxy: a proxy of kind {proxy.scheme!r} is not supported: name an HTTP proxy")
    return proxy
