"""The client of OpenAI-compatible endpoints: aiohttp and orjson, because every call of a run goes through here.

Measured when this was designed: 3,000 calls to a zero-latency endpoint took 0.6 s with aiohttp, 5 to 6 s with httpx or
the openai client. What does not change from call to call (headers, URL, proxy) is made once.
"""

from __future__ import annotations

import logging
import math
import re
import time
import urllib.request
from typing import Any, NoReturn

import aiohttp
import orjson
from pydantic import SecretStr
from yarl import URL

from prefect_datagen.engine.chat import (
    ChatAnswer,
    ChatRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    ImageAnswer,
    ImageRequest,
)
from prefect_datagen.engine.errors import ConfigError, ErrorKind, ModelError
from prefect_datagen.models.completion import Reply, read_answer, read_payload
from prefect_datagen.models.config import names_secret
from prefect_datagen.models.embeddings import read_embeddings
from prefect_datagen.models.images import image_chat_body, read_chat_image, read_image

_logger = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 30.0
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
_NO_RESPONSE_FORMAT = re.compile("response_?format|json_?schema", re.IGNORECASE)
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_REDACTED = "[redacted]"
_CHAT, _EMBEDDINGS, _IMAGES = "chat/completions", "embeddings", "images/generations"
_MODELS = "models"


class OpenAIClient:
    """A client of chat, embeddings and images for one endpoint, on one event loop. The session opens with the first call.

    There is no limit of connections here: limits stand above the client. It does not follow redirects, since a POST
    would arrive as a GET, and the key at another host.

    Args:
        endpoint: base URL such as `http://127.0.0.1:8000/v1`; a query (`?api-version=...`) is kept in each call.
        api_key: sent as bearer token, and shown nowhere.
        extra_headers: added to each request; one of the same name replaces `Authorization`.
        extra_body: fields of each request's body; the request's own fields win.
        connect_timeout: seconds to open a connection.
        read_timeout: seconds without a byte.

    Raises:
        ConfigError: the endpoint is not an HTTP URL without credentials, or a header holds control characters.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: SecretStr | None = None,
        extra_headers: dict[str, str] | None = None,
        extra_body: dict[str, Any] | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 120.0,
    ) -> None:
        base = self._base = _checked_url(endpoint)
        self._endpoint = str(base.with_query(None)).rstrip("/")
        self._urls = {route: (base / route).with_query(base.query) for route in (_CHAT, _EMBEDDINGS, _IMAGES, _MODELS)}
        self._api_key = api_key
        self._extra_headers = {name: SecretStr(value) for name, value in (extra_headers or {}).items()}
        self._extra_body = extra_body or {}
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._without_response_format: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        _check_headers(self._headers())

    @property
    def endpoint(self) -> str:
        """Base URL without query: with the model's name, the identity that limits are shared by."""
        return self._endpoint

    def __repr__(self) -> str:
        return f"OpenAIClient({self._endpoint!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an OpenAIClient cannot be pickled: it holds a key and open connections")

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        """Make one call; `timeout` bounds it in seconds.

        An endpoint that refuses `response_format` is asked again without it, within the same time, and if that is
        answered it never sees one for this model again.

        Raises:
            ModelError: classified as `models/completion.py` says; timeouts and connection errors are retryable.
        """
        body = self.body(request.body())
        formatted = "response_format" in body
        if formatted and request.model in self._without_response_format:
            del body["response_format"]
            formatted = False
        started = time.monotonic()
        reply = await self._post(_CHAT, body, timeout=timeout)
        if formatted and refuses_response_format(reply):
            del body["response_format"]
            left = None if timeout is None else max(0.001, timeout - (time.monotonic() - started))
            reply = await self._post(_CHAT, body, timeout=left)
            if reply.status == 200 and request.model not in self._without_response_format:
                # Only now: an error that quotes the request names response_format, too.
                _logger.warning("%s refuses response_format for model %r: left out", self._endpoint, request.model)
                self._without_response_format.add(request.model)
        return read_answer(reply, redact=self.redact)

    async def embed(self, request: EmbeddingRequest, *, timeout: float | None = None) -> EmbeddingAnswer:
        """Make one call; `timeout` bounds it in seconds. Vectors that come as base64 are decoded.

        Raises:
            ModelError: classified as for `chat`.
        """
        reply = await self._post(_EMBEDDINGS, self.body(request.body()), timeout=timeout)
        return read_embeddings(reply, texts=len(request.texts), redact=self.redact)

    async def image(self, request: ImageRequest, *, timeout: float | None = None) -> ImageAnswer:
        """Make one call; `timeout` bounds it in seconds. With media beside the prompt it is a chat model that paints.

        Raises:
            ModelError: classified as for `chat`.
        """
        if request.parts:
            body = self.body(image_chat_body(request))
            return read_chat_image(await self._post(_CHAT, body, timeout=timeout), redact=self.redact)
        reply = await self._post(_IMAGES, self.body(request.body()), timeout=timeout)
        return read_image(reply, redact=self.redact)

    async def list_models(self, *, timeout: float | None = None) -> frozenset[str]:
        """Names of the endpoint's models. Costs nothing; many endpoints do not have this route (404).

        Raises:
            ModelError: classified as for `chat`.
        """
        payload = read_payload(
            await self._send("GET", self._urls[_MODELS], None, timeout=timeout), "data", redact=self.redact
        )
        return frozenset(str(each["id"]) for each in payload["data"] if isinstance(each, dict) and "id" in each)

    def body(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is sent for a request's body: with the provider's `extra_body`."""
        return {**self._extra_body, **request}

    async def request(
        self, method: str, path: str, data: bytes | None, *, query: dict[str, str] | None = None
    ) -> Reply:
        """Ask any other route below the base URL, such as `batches`; `data` is JSON.

        Raises:
            ModelError: no whole reply came; a reply of any status is returned.
        """
        return await self._send(method, self._url(path).update_query(query or {}), data, timeout=None)

    async def upload(self, path: str, name: str, data: bytes, fields: dict[str, str]) -> Reply:
        """Send a file as `multipart/form-data`, in the field `file`, with other fields before it.

        Raises:
            ModelError: no whole reply came; a reply of any status is returned.
        """
        form = aiohttp.FormData(fields)
        form.add_field("file", data, filename=name, content_type="application/jsonl")
        content = form()
        kind = content.headers["Content-Type"]
        return await self._send("POST", self._url(path), content, timeout=None, headers={"Content-Type": kind})

    async def aclose(self) -> None:
        """Close all connections. May be called twice; a later call would open new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, route: str, body: dict[str, Any], *, timeout: float | None) -> Reply:
        try:
            data = orjson.dumps(body)
        except TypeError as error:
            # Half of a surrogate pair in a text, which is not valid Unicode; or a value that JSON does not know.
            raise ModelError(
                f"the request to {self._endpoint} is not valid JSON: {error}",
                kind=ErrorKind.PERMANENT,
                reason="unsendable request",
                endpoint=self._endpoint,
            ) from error
        return await self._send("POST", self._urls[route], data, timeout=timeout)

    def _url(self, path: str) -> URL:
        return (self._base / path).with_query(self._base.query)

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
                return Reply(self._endpoint, response.status, response.headers, await response.read())
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            failure, cause = self._failure(error, timeout), error
        # Outside the handler: aiohttp's response errors hold the request's headers, and so the key.
        raise failure from (None if isinstance(cause, aiohttp.ClientResponseError) else cause)

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers(),
            proxy=_environment_proxy(self._urls[_CHAT]),
        )
        return self._session

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "prefect-datagen"}
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key.get_secret_value()}"
        for name, value in self._extra_headers.items():
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
        return ModelError(
            f"{reason} at {self._endpoint}: {self.redact(what)}", kind=kind, reason=reason, endpoint=self._endpoint
        )

    def redact(self, text: str) -> str:
        """The text without the key, and without headers and parts of the query that look secret."""
        named = [
            *self._extra_headers.items(),
            *((name, SecretStr(value)) for name, value in self._urls[_CHAT].query.items()),
        ]
        secrets = [secret.get_secret_value() for name, secret in named if names_secret(name)]
        if self._api_key is not None:
            secrets.append(self._api_key.get_secret_value())
        for secret in secrets:
            # Without its scheme, too: of `Bearer abc` an endpoint may echo `abc`.
            for shown in (secret, *secret.split()[1:]):
                text = text.replace(shown, _REDACTED) if shown else text
        return text


def refuses_response_format(reply: Reply) -> bool:
    """Whether a reply says that the endpoint takes no `response_format`."""
    return reply.status in {400, 422} and _NO_RESPONSE_FORMAT.search(reply.data.decode(errors="replace")) is not None


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
