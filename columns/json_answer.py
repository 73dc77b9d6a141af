"""A model's answer that ought to be JSON: found in the text, checked against its schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from prefect_datagen.columns.fences import after_thinking, fenced_blocks
from prefect_datagen.engine.errors import ConfigError, InvalidAnswerError

if TYPE_CHECKING:
    import jsonschema_rs

_MOST_PROBLEMS = 10
_CUT_OFF = "the JSON is not complete: the answer ends in the middle of it"


class SchemaCheck:
    """A compiled JSON schema. Messages name the place in the answer, and are written for the model to read."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compile.

        Raises:
            ConfigError: it is no JSON schema, or refers to one elsewhere: nothing is fetched.
        """
        import jsonschema_rs  # 30 ms that only configs with a schema need

        try:
            self._validator = jsonschema_rs.validator_for(dict(schema), retriever=_refuse)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            raise ConfigError(f"not a JSON schema: {str(error).partition(chr(10))[0]}") from error

    def problems(self, value: Any) -> list[str]:
        """What is wrong with a value, at most ten problems; empty where it fits."""
        try:
            return [_described(error) for error in islice(self._validator.iter_errors(value), _MOST_PROBLEMS)]
        except ValueError as error:  # text that is not valid Unicode, numbers beyond any float
            return [str(error)]


def parse_json_answer(text: str, check: SchemaCheck, prepare: Callable[[Any], Any] = lambda value: value) -> Any:
    """The first JSON value in the text that fits the schema: the whole text, else in a fence, else in prose.

    `prepare` may mend any JSON value before it is checked.

    Raises:
        InvalidAnswerError: there is none. Says what is wrong with the first value there is, or with the JSON.
    """
    problems: list[str] = []
    for value in _candidates(after_thinking(text)):
        if isinstance(value, _Broken):
            problems = problems or [value.why]
            continue
        mended = prepare(value)
        found = check.problems(mended)
        if not found:
            return mended
        problems = problems or found
    raise InvalidAnswerError("; ".join(problems) or "there is no JSON in it")


class _Broken:
    """What was meant to be JSON and is not."""

    def __init__(self, why: str) -> None:
        self.why = why


def _candidates(text: str) -> Iterator[Any]:
    stripped = text.strip()
    whole = _load(stripped)
    if not isinstance(whole, _Broken):
        yield whole
        return
    for block in fenced_blocks(text):
        yield _load(block.text.strip()) if block.closed else _Broken(_CUT_OFF)
    yield from _in_prose(stripped)


def _load(text: str) -> Any:
    # Not orjson, which makes floats of integers beyond 64 bits. Line breaks within text are no JSON, and yet clear.
    try:
        return json.loads(text, parse_constant=_no_constant, strict=False)
    except (ValueError, RecursionError) as error:
        return _Broken(_why(error, text))


def _in_prose(text: str) -> Iterator[Any]:
    """JSON values that stand in other text, in order, ended by the first one that is broken.

    A bracket that no JSON follows, as in `[see below]`, is prose. One that starts as JSON and breaks later is a broken
    answer: what stands inside it is a part of the answer and must not be taken for the whole.
    """
    decoder = json.JSONDecoder(parse_constant=_no_constant, strict=False)
    position = 0
    while (start := _next_bracket(text, position)) is not None:
        try:
            value, position = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            if text[start + 1 : error.pos].strip():
                yield _Broken(_why(error, text))
                return
            position = start + 1
        except (ValueError, RecursionError) as error:
            yield _Broken(_why(error, text))
            return
        else:
            yield value


def _next_bracket(text: str, position: int) -> int | None:
    places = [place for place in (text.find("{", position), text.find("[", position)) if place >= 0]
    return min(places, default=None)


def _why(error: Exception, text: str) -> str:
    if isinstance(error, json.JSONDecodeError):
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            return _CUT_OFF
        return f"it is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    return f"it is not valid JSON: {error}"


def _described(error: jsonschema_rs.ValidationError) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    return f"{place.removeprefix('.')}: {error.message}" if place else error.message


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"$ref {uri!r} leads out of the schema")
