"""Providers through litellm against the mock server, where the extra is installed; and what is said where it is not."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from pydantic import SecretStr

from prefect_datagen.engine.chat import ChatAnswer, ChatRequest
from prefect_datagen.engine.errors import ErrorKind, ModelError
from prefect_datagen.models.clients import make_client
from prefect_datagen.models.config import ModelProvider
from prefect_datagen.models.prose import LABEL
from tests.mock_server import MockServer

KEY = "sk-very-secret-0123456789"

# litellm and what it imports warn of many things that are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


def ask(server: MockServer, *, key: str = KEY, timeout: float | None = 20) -> ChatAnswer:
    provider = ModelProvider(name="p", provider_type="hosted_vllm", endpoint=server.url)

    async def main() -> ChatAnswer:
        client = make_client(provider, api_key=SecretStr(key))
        try:
            request = ChatRequest("mock", [{"role": "user", "content": "Write."}], {"temperature": 0.5})
            return await client.chat(request, timeout=timeout)
        finally:
            await client.aclose()

    return asyncio.run(main())


def test_an_answer_its_tokens_and_what_was_sent(mock_server: MockServer) -> None:
    pytest.importorskip("litellm")
    mock_server.become(require_key=KEY, log_requests=True)
    answer = ask(mock_server)
    assert answer.text.startswith(LABEL)
    stats = mock_server.stats()
    assert (stats.calls, answer.input_tokens, answer.output_tokens) == (1, stats.input_tokens, stats.output_tokens)
    (seen,) = mock_server.requests()
    assert (seen.body["model"], seen.body["temperature"]) == ("mock", 0.5)


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("429", ErrorKind.THROTTLED, "429"),
        ("500", ErrorKind.RETRYABLE, "500"),
        ("400", ErrorKind.PERMANENT, "400"),
        ("empty", ErrorKind.PERMANENT, "unusable answer"),
    ],
)
def test_failures_are_classified_and_never_repeated(
    mock_server: MockServer, fault: str, kind: ErrorKind, reason: str
) -> None:
    pytest.importorskip("litellm")
    mock_server.become(errors=[fault])
    with pytest.raises(ModelError) as caught:
        ask(mock_server)
    assert (caught.value.kind, caught.value.reason) == (kind, reason)
    assert mock_server.stats().calls == 1


def test_a_refused_key_and_a_timeout(mock_server: MockServer) -> None:
    pytest.importorskip("litellm")
    mock_server.become(require_key="another")
    with pytest.raises(ModelError) as caught:
        ask(mock_server)
    assert caught.value.status == 401
    assert KEY not in str(caught.value)
    mock_server.become(errors=["hang"])
    with pytest.raises(ModelError) as caught:
        ask(mock_server, timeout=0.5)
    assert (caught.value.kind, caught.value.reason) == (ErrorKind.RETRYABLE, "timeout")


def test_without_the_package_the_error_names_the_extra() -> None:
    code = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'litellm' else real(name, *more)\n"
        "from prefect_datagen.models.clients import make_client\n"
        "from prefect_datagen.models.config import ModelProvider\n"
        "try: make_client(ModelProvider(name='p', provider_type='bedrock'))\n"
        "except Exception as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'prefect-datagen[litellm]'" in told
