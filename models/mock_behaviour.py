"""What the mock model server does to its callers: one pydantic model for command-line flags, `/control` and tests.

A *fault* is what a call gets instead of an answer: an HTTP status from 400 to 599, or one of the names in `FAULTS`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from prefect_datagen.engine.errors import ConfigError

FAULTS: dict[str, str] = {
    "empty": "200, and the message is empty",
    "html": "200 with an HTML page, as a proxy in the way would give",
    "truncated": "200 with JSON that stops half-way (the HTTP body is complete)",
    "cut-off": "200, and the connection closes before the body is complete",
    "no-choices": "200 with an empty list of choices",
    "wrong-shape": "200 with JSON that is not a chat completion",
    "bad-json": "200 with an answer that does not fit the schema that was asked for",
    "hang": "no answer, ever; the connection stays open",
    "reset": "the connection is reset",
}


def _check_fault(code: str) -> str:
    if code in FAULTS or (code.isascii() and code.isdigit() and 400 <= int(code) <= 599):
        return code
    raise ValueError(f"{code!r} is neither an HTTP status from 400 to 599 nor one of {', '.join(FAULTS)}")


Fault = Annotated[str, AfterValidator(_check_fault)]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class ErrorRule(_Options):
    """A share of the calls that get a fault."""

    code: Fault = Field(description="HTTP status, or a name such as `empty`, `html` or `hang`.")
    rate: float = Field(default=1.0, ge=0, le=1, description="Share of calls, from 0 to 1.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """Take the short form `CODE:RATE`, too; without a rate it is every call."""
        if not isinstance(value, str):
            return value
        code, colon, rate = value.partition(":")
        return {"code": code, "rate": rate if colon else 1.0}


class CannedAnswer(_Options):
    """An answer given word for word to the requests whose prompt matches."""

    prompt_regex: str = Field(description="Searched for in the text of all messages.")
    status: int = Field(default=200, ge=200, le=599)
    headers: dict[str, str] = Field(default_factory=dict, description="Added to the answer's headers.")
    message: dict[str, Any] | None = Field(default=None, description="The message of the first choice.")
    body: str | None = Field(default=None, description="The whole HTTP body, instead of `message`.")


class MockBehaviour(_Options):
    """Everything about the mock model server that can be chosen, at the start or while it runs.

    Whether a call gets a fault of `errors` depends on seed, request and attempt, so a run is reproducible whatever the
    order of its calls; the attempt is how often this very body has arrived, from 1.
    """

    latency_ms: float = Field(default=0.0, ge=0, description="Milliseconds from request to answer.")
    jitter_ms: float = Field(default=0.0, ge=0, description="Latency varies by up to this, evenly, up and down.")
    seed: int = Field(default=0, description="Of faults and jitter. Answers depend on the request alone.")
    errors: tuple[ErrorRule, ...] = Field(default=(), description="Shares of calls that get a fault; at most 1 in all.")
    error_order: Literal["request", "arrival"] = Field(
        default="request", description="`arrival`: faults depend on the number of the call instead of on the request."
    )
    max_in_flight: int | None = Field(default=None, ge=1, description="Calls served at once; others get 429 at once.")
    retry_after: float | None = Field(default=None, ge=0, description="Seconds to wait, sent with each 429 and 503.")
    retry_after_form: Literal["seconds", "date", "ms"] = Field(
        default="seconds", description="`Retry-After` in seconds or as an HTTP date, or `retry-after-ms`."
    )
    fail_first: int = Field(default=0, ge=0, description="How many first attempts of each distinct request fail.")
    fail_first_code: Fault = Field(default="500", description="What these attempts get.")
    fail_prompt_regex: str | None = Field(default=None, description="Requests whose prompt matches fail every time.")
    fail_prompt_code: Fault = Field(default="400", description="What these requests get.")
    require_key: SecretStr | None = Field(default=None, description="401 unless this is sent as bearer token.")
    models_need_key: bool = Field(default=False, description="GET /v1/models wants the key, too.")
    down_after: int | None = Field(default=None, ge=0, description="After this many calls every call fails.")
    down_code: Fault = Field(default="503", description="What these calls get.")
    refuse_response_format: bool = Field(default=False, description="400 to each request with a `response_format`.")
    hold: bool = Field(default=False, description="Calls arrive and wait until this is false again.")
    batch_seconds: float = Field(default=0.0, ge=0, description="Seconds from a batch's creation to its end.")
    batch_ends: tuple[Literal["completed", "held", "expired", "cancelled", "token_limit_exceeded"], ...] = Field(
        default=(),
        description="How the first batches end, in order of creation; the others complete. `held` ones do at the next "
        "change of behaviour.",
    )
    batch_fault: Literal["500", "lost-reply"] | None = Field(
        default=None, description="What the first request to create a batch gets; `lost-reply` creates it all the same."
    )
    reasoning: Literal["reasoning_content", "reasoning"] | None = Field(
        default=None, description="Field of the message that carries a line of reasoning."
    )
    tool_turns: int = Field(
        default=0,
        ge=0,
        description="Turns of a conversation in which tools are asked for, where a request offers some.",
    )
    calls_per_turn: int = Field(default=1, ge=1, le=20, description="Tool calls in each of these turns.")
    ignore_tool_choice: bool = Field(default=False, description="Ask for tools where `tool_choice` is `none`, too.")
    canned: tuple[CannedAnswer, ...] = Field(default=(), description="Answers given word for word; the first match.")
    log_requests: bool = Field(default=False, description="Keep requests in order of arrival for `GET /requests`.")
    log_limit: int = Field(default=100_000, ge=1, description="Newest requests that the log keeps.")

    @field_validator("fail_prompt_regex")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _rates_fit(self) -> MockBehaviour:
        total = sum(rule.rate for rule in self.errors)
        if total > 1 + 1e-9:
            raise ValueError(f"the rates of `errors` add up to {total:g}; at most 1")
        return self


def parse_error_rule(text: str) -> ErrorRule:
    """The rule of a flag such as `429:0.01`, `hang:0.001` or `500` (every call).

    Raises:
        ConfigError: no such fault, or the rate is not a number from 0 to 1.
    """
    try:
        return ErrorRule.model_validate(text)
    except ValueError as error:
        raise ConfigError(
            f"--error {text!r} is not CODE:RATE, a fault and a share from 0 to 1 such as 429:0.01 or empty:0.5; "
            f"CODE is an HTTP status from 400 to 599 or one of {', '.join(FAULTS)}"
        ) from error
