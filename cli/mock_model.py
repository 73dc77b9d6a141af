"""`prefect-datagen mock-model`: an OpenAI-compatible endpoint for trying things out, tests and benchmarks."""

from __future__ import annotations

from typing import Any

import click


@click.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(min=0, max=65535), default=8090, help="Port to listen on; 0 for any that is free."
)
@click.option("--latency-ms", type=click.FloatRange(min=0), default=0.0, help="Milliseconds from request to answer.")
@click.option(
    "--jitter-ms", type=click.FloatRange(min=0), default=0.0, help="Latency varies by up to this, up and down."
)
@click.option(
    "--error",
    multiple=True,
    metavar="CODE:RATE",
    help="Share of calls that fail, such as 429:0.01; may be given again. CODE is an HTTP status from 400 to "
    "599 or one of empty, html, truncated, cut-off, no-choices, wrong-shape, bad-json, hang, reset.",
)
@click.option(
    "--error-order",
    default="request",
    help="What decides who fails: `request` (its content and attempt) or `arrival` (its number).",
)
@click.option("--seed", type=int, default=0, help="Of errors and jitter; the answers depend on the request alone.")
@click.option("--max-in-flight", type=click.IntRange(min=1), help="Calls served at once; others get 429.")
@click.option("--retry-after", type=click.FloatRange(min=0), help="Seconds to wait, told with 429 and 503.")
@click.option("--retry-after-form", default="seconds", help="How it is told: seconds, date or ms.")
@click.option(
    "--fail-first", type=click.IntRange(min=0), default=0, help="First attempts of each distinct request that fail."
)
@click.option("--fail-first-code", default="500", help="CODE that these get.")
@click.option("--fail-prompt-regex", help="Requests whose prompt matches fail, always.")
@click.option("--fail-prompt-code", default="400", help="CODE that these get.")
@click.option("--down-after", type=click.IntRange(min=0), help="Calls after which every call fails.")
@click.option("--down-code", default="503", help="CODE that these get.")
@click.option("--require-key", help="401 unless this key is sent.")
@click.option("--models-need-key", is_flag=True, help="The list of models wants the key, too.")
@click.option("--refuse-response-format", is_flag=True, help="400 to requests for native structured output.")
@click.option(
    "--batch-seconds", type=click.FloatRange(min=0), default=0.0, help="Seconds from a batch's creation to its end."
)
@click.option(
    "--batch-ends",
    multiple=True,
    help="How the first batches end: completed, expired, cancelled or token_limit_exceeded; may be given again.",
)
@click.option("--batch-fault", help="What the first request to create a batch gets: 500, or lost-reply.")
@click.option(
    "--tool-turns",
    type=click.IntRange(min=0),
    default=0,
    help="Answers of a conversation that ask for the tools it offers.",
)
@click.option("--log-requests", is_flag=True, help="Keep the newest requests for GET /requests.")
def mock_model(
    host: str,
    port: int,
    latency_ms: float,
    jitter_ms: float,
    error: tuple[str, ...],
    error_order: str,
    seed: int,
    max_in_flight: int | None,
    retry_after: float | None,
    retry_after_form: str,
    fail_first: int,
    fail_first_code: str,
    fail_prompt_regex: str | None,
    fail_prompt_code: str,
    down_after: int | None,
    down_code: str,
    require_key: str | None,
    models_need_key: bool,
    refuse_response_format: bool,
    batch_seconds: float,
    batch_ends: tuple[str, ...],
    batch_fault: str | None,
    tool_turns: int,
    log_requests: bool,
) -> None:
    """Serve a made-up model over HTTP, as OpenAI's API: no key, no cost, and as many faults as you ask for.

    The first line printed has the base URL; put it where a provider's `endpoint` goes. The same request always gets the
    same answer, and every text says that it is made up. GET /stats tells what the callers did (calls, tokens, most in
    flight, requests paid twice). POST /control changes any of these options while it runs, for example:
    curl -d '{"latency_ms": 200}' http://127.0.0.1:8090/control

    Examples:

        prefect-datagen mock-model --latency-ms 50

        prefect-datagen mock-model --port 0 --error 429:0.05 --error hang:0.001 --retry-after 1

        prefect-datagen mock-model --max-in-flight 16 --latency-ms 100 --jitter-ms 20
    """
    # What follows is imported here so that `prefect-datagen --help` need not wait for it.
    from pydantic import ValidationError

    from prefect_datagen.engine.errors import ConfigError
    from prefect_datagen.models.mock_behaviour import MockBehaviour, parse_error_rule
    from prefect_datagen.models.mock_server import run

    options: dict[str, Any] = {
        "latency_ms": latency_ms,
        "jitter_ms": jitter_ms,
        "error_order": error_order,
        "seed": seed,
        "max_in_flight": max_in_flight,
        "retry_after": retry_after,
        "retry_after_form": retry_after_form,
        "fail_first": fail_first,
        "fail_first_code": fail_first_code,
        "fail_prompt_regex": fail_prompt_regex,
        "fail_prompt_code": fail_prompt_code,
        "down_after": down_after,
        "down_code": down_code,
        "require_key": require_key,
        "models_need_key": models_need_key,
        "refuse_response_format": refuse_response_format,
        "batch_seconds": batch_seconds,
        "batch_ends": batch_ends,
        "batch_fault": batch_fault,
        "tool_turns": tool_turns,
        "log_requests": log_requests,
    }
    try:
        rules = [parse_error_rule(text) for text in error]
        behaviour = MockBehaviour.model_validate({**options, "errors": rules})
        run(behaviour, host=host, port=port, on_listen=_announce)
    except ConfigError as problem:
        raise click.BadParameter(str(problem)) from problem
    except ValidationError as problem:
        raise click.BadParameter("; ".join(_told(detail) for detail in problem.errors())) from problem


def _announce(url: str) -> None:
    click.echo(f"mock model listens on {url} (Ctrl-C stops it; {url.removesuffix('/v1')}/stats tells what it saw)")


def _told(detail: Any) -> str:
    flag = "--" + "-".join(str(part) for part in detail["loc"]).replace("_", "-") if detail["loc"] else "--error"
    return f"{flag}: {detail['msg'].removeprefix('Value error, ')}"


if __name__ == "__main__":
    mock_model()
