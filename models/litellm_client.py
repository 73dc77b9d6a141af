"""Models of any provider that litellm knows (Bedrock, Vertex AI, Gemini, ...), through litellm.

An extra (`pip install 'prefect-datagen[litellm]'`): it brings large packages and is slow to import, which happens where the
first such provider is used. Limits, retries, journal and accounting stand above it as above every client; it makes no
retries of its own.

`provider_type` is litellm's name of the provider, and is put before the model's name (`bedrock/some-model`); with
`provider_type: litellm` the model's name says it itself. Keys that are not given are found by litellm where it looks for
them, such as AWS's own variables.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import SecretStr

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest
from prefect_datagen.engine.errors import ConfigError, ErrorKind, ModelError
from prefect_datagen.models.completion import Reply, read_answer, status_error

LITELLM = "litellm"
_REDACTED = "[redacted]"


class LiteLLMClient:
    """A client of one provider through litellm, on one event loop.

    Args:
        provider_type: litellm's name of the provider, or `litellm`.
        endpoint: base URL, where the provider needs one.
        api_key: shown nowhere.
        extra_headers: added to each request.
        extra_body: parameters of each request; the request's own win.

    Raises:
        ConfigError: litellm is not installed, or knows no such provider.
    """

    def __init__(
        self,
        provider_type: str,
        *,
        endpoint: str = "",
        api_key: SecretStr | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        if importlib.util.find_spec(LITELLM) is None:
            raise ConfigError(
                f"provider_type {provider_type!r} is not supported without litellm, which is not installed: "
                "pip install 'prefect-datagen[litellm]' (`openai`, `anthropic` and `offline` need no extra)"
            )
        # Its list of prices is not wanted from the network.
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        litellm: Any = importlib.import_module(LITELLM)
        if provider_type not in {LITELLM, *map(_name, litellm.provider_list)}:
            raise ConfigError(f"provider_type {provider_type!r} is not supported: litellm does not know it, either")
        litellm.suppress_debug_info = True
        litellm.telemetry = False
        self._litellm = litellm
        self._prefix = "" if provider_type == LITELLM else f"{provider_type}/"
        self._endpoint = endpoint or f"litellm:{provider_type}"
        self._extra_body = dict(extra_body or {})
        self._settings: dict[str, Any] = {"num_retries": 0, "max_retries": 0}
        if endpoint:
            self._settings["api_base"] = endpoint
        if extra_headers:
            self._settings["extra_headers"] = dict(extra_headers)
        self._api_key = api_key

    @property
    def endpoint(self) -> str:
        """Base URL, or `litellm:PROVIDER`: with the model's name, the identity that limits are shared by."""
        return self._endpoint

    def __repr__(self) -> str:
        return f"LiteLLMClient({self._endpoint!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LiteLLMClient cannot be pickled: it holds a key")

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        """Make one call; `timeout` bounds it in seconds.

        Raises:
            ModelError: classified as `models/completion.py` says, by the status that litellm tells.
        """
        body = {**self._extra_body, **request.body(), **self._settings}
        body["model"] = f"{self._prefix}{request.model}"
        if self._api_key is not None:
            body["api_key"] = self._api_key.get_secret_value()
        try:
            async with asyncio.timeout(timeout):
                completion = await self._litellm.acompletion(**body)
        except Exception as error:  # noqa: BLE001 - boundary: its errors are those of a hundred libraries
            failure = self._failure(error)
        else:
            reply = Reply(self._endpoint, 200, {}, completion.model_dump_json().encode())
            return read_answer(reply, redact=self._redact)
        # Outside the handler: litellm's errors may hold the request, and so the key.
        raise failure

    async def aclose(self) -> None:
        """Close the connections that litellm keeps. May be called twice."""
        await self._litellm.close_litellm_async_clients()

    def _failure(self, error: Exception) -> ModelError:
        said = self._redact(str(error) or type(error).__name__)
        name = type(error).__name__
        if isinstance(error, TimeoutError) or name == "Timeout":
            return self._unreached("timeout", said)
        if name == "APIConnectionError" or not isinstance(getattr(error, "status_code", None), int):
            return self._unreached("connection", said)
        status: int = getattr(error, "status_code")  # noqa: B009 - of a class that is not known here
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        return status_error(self._endpoint, status, said, headers=headers)

    def _unreached(self, reason: str, said: str) -> ModelError:
        return ModelError(
            f"{reason} at {self._endpoint}: {said}", kind=ErrorKind.RETRYABLE, reason=reason, endpoint=self._endpoint
        )

    def _redact(self, text: str) -> str:
        key = None if self._api_key is None else self._api_key.get_secret_value()
        return text.replace(key, _REDACTED) if key else text


def _name(provider: Any) -> str:
    return str(getattr(provider, "value", provider))
