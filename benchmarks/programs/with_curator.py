"""The three cells of each row by bespokelabs-curator: three models, one after the other, as its API wants it."""

import json
import sys
import tempfile
import time
from typing import Any

import posthog
import tiktoken
from bespokelabs import curator


class _Words:
    """Stands for tiktoken's encoding, which is fetched from the internet: counts words, at less cost."""

    def encode(self, text: str, **_: object) -> list[str]:
        return text.split()


posthog.disabled = True
tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_, **__: _Words()


def asker(column: str, template: str, url: str, parallel: int) -> Any:
    """A model that fills one column."""

    class Asker(curator.LLM):
        def prompt(self, row: dict[str, Any]) -> str:
            return template.format(**row)

        def parse(self, row: dict[str, Any], answer: str) -> dict[str, Any]:
            return {**row, column: answer}

    limits = {"max_concurrent_requests": parallel, "max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10}
    return Asker(
        model_name="gpt-4o-mini",
        backend="openai",
        backend_params={"base_url": url, "api_key": "none", "require_all_responses": True, **limits},
    )


def main() -> None:
    """Build and print what it took."""
    url, rows, parallel = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    data: Any = [{"id": number} for number in range(rows)]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for column, template in (
            ("a", "First about {id}."),
            ("b", "Second about {id}."),
            ("c", "Join {a} and {b}."),
        ):
            made = asker(column, template, url, parallel)(data, working_dir=folder)
            data = getattr(made, "dataset", made)
        seconds = time.perf_counter() - started
    print("\n" + json.dumps({"made_seconds": seconds, "rows": len(data)}))


main()
