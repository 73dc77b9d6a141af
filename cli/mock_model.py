"""`prefect-datagen mock-model`: an OpenAI-compatible endpoint for trying things out, tests and benchmarks."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def mock_model(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8090,
    latency_ms: Annotated[float, typer.Option(min=0, help="Milliseconds from request to answer.")] = 0.0,
    jitter_ms: Annotated[float, typer.Option(min=0, help="Latency varies by up to this, up and down.")] = 0.0,
    error: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODE:RATE",
            help="Share of calls that fail, such as 429:0.01; may be given again. CODE is an HTTP status from 400 to "
            "599 or one of empty, html, truncated, cut-off, no-choices, wrong-shape, bad-json, hang, reset.",
        ),
    ] = None,
    error_order: Annotated[
        str, typer.Option(help="What decides who fails: `request` (its content and attempt) or `arrival` (its number).")
    ] = "request",
    seed: Annotated[int, typer.Option(help="Of errors and jitter; the answers depend on the request alone.")] = 0,
    max_in_flight: Annotated[int | None, typer.Option(min=1, help="Calls served at once; others get 429.")] = None,
    retry_after: Annotated[float | None, typer.Option(min=0, help="Seconds to wait, told with 429 and 503.")] = None,
    retry_after_form: Annotated[str, typer.Option(help="How it is told: seconds, date or ms.")] = "seconds",
    fail_first: Annotated[int, typer.Option(min=0, help="First attempts of each distinct request that fail.")] = 0,
    fail_first_code: Annotated[str, typer.Option(help="CODE that these get.")] = "500",
    fail_prompt_regex: Annotated[str | None, typer.Option(help="Requests whose prompt matches fail, always.")] = None,
    fail_prompt_code: Annotated[str, typer.Option(help="CODE that these get.")] = "400",
    down_after: Annotated[int | None, typer.Option(min=0, help="Calls after which every call fails.")] = None,
    down_code: Annotated[str, typer.Option(help="CODE that these get.")] = "503",
    require_key: Annotated[str | None, typer.Option(help="401 unless this key is sent.")] = None,
    models_need_key: Annotated[
        bool, typer.Option("--models-need-key", help="The list of models wants the key, too.")
    ] = False,
    refuse_response_format: Annotated[
        bool, typer.Option("--refuse-response-format", help="400 to requests for native structured output.")
    ] = False,
    batch_seconds: Annotated[float, typer.Option(min=0, help="Seconds from a batch's creation to its end.")] = 0.0,
    batch_ends: Annotated[
        list[str] | None,
        typer.Option(
            help="How the first batches end: completed, expired, cancelled or token_limit_exceeded; may be given again."
        ),
    ] = None,
    batch_fault: Annotated[
        str | None, typer.Option(help="What the first request to create a batch gets: 500, or lost-reply.")
    ] = None,
    tool_turns: Annotated[
        int, typer.Option("--tool-turns", min=0, help="Answers of a conversation that ask for the tools it offers.")
    ] = 0,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Keep the newest requests for GET /requests.")
    ] = False,
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
        "batch_ends": batch_ends or (),
        "batch_fault": batch_fault,
        "tool_turns": tool_turns,
        "log_requests": log_requests,
    }
    try:
        rules = [parse_error_rule(text) for text in error or ()]
        behaviour = MockBehaviour.model_validate({**options, "errors": rules})
        run(behaviour, host=host, port=port, on_listen=_announce)
    except ConfigError as problem:
        raise typer.BadParameter(str(problem)) from problem
    except ValidationError as problem:
        raise typer.BadParameter("; ".join(_told(detail) for detail in problem.errors())) from problem


def _announce(url: str) -> None:
    typer.echo(f"mock model listens on {url} (Ctrl-C stops it; {url.removesuffix('/v1')}/stats tells what it saw)")


def _told(detail: Any) -> str:
    flag = "--" + "-".join(str(part) for part in detail["loc"]).replace("_", "-") if detail["loc"] else "--error"
    return f"{flag}: {detail['msg'].removeprefix('Value error, ')}"


if __name__ == "__main__":
    typer.run(mock_model)
