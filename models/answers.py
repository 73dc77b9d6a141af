"""Answers that no model wrote: a function of the request alone, shared by the offline model and the mock model server.

The same body gives the same answer, in any process and in any order. Every text says so itself: it begins with
`[offline model]`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from prefect_datagen.models.json_instance import Schema, json_instance
from prefect_datagen.models.prose import LABEL, Dice, sentence

CHARACTERS_PER_TOKEN = 4
"""A rule of thumb for English text. Real tokenizers differ by model; this needs none of them."""

DIMENSIONS = 32
"""Numbers in a made-up vector, where the request does not say."""

_QUOTED_CHARACTERS = 60
_ASKED_FENCE = re.compile(r"```([A-Za-z][\w:+#.-]*)[^\n`]*\Z")
_JSON_MARKS = re.compile(r'\\.|["{}]')
_JSON_OBJECT = re.compile(r'\{\s*"')


@dataclass(frozen=True, slots=True)
class MadeUpAnswer:
    """Text and token counts of an answer; `finish_reason` is `length` where max_tokens cut it."""

    text: str
    input_tokens: int
    output_tokens: int
    finish_reason: str


def request_digest(body: Mapping[str, Any]) -> bytes:
    """16 bytes that stand for the request: the same for equal bodies, whatever the order of their keys."""
    return hashlib.blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def estimate_tokens(text: str) -> int:
    """Tokens of a text by rule of thumb: one for each four characters begun."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def prompt_text(messages: Iterable[Mapping[str, Any]]) -> str:
    """The text of all messages, one after the other; images and the like are left out."""
    return "\n".join(content_text(message.get("content")) for message in messages)


def content_text(content: Any) -> str:
    """The text of a message's content, which may be text, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, (str, dict)))
    return "\n".join(text for text in texts if isinstance(text, str))


def answer_chat(body: Mapping[str, Any], *, digest: bytes) -> MadeUpAnswer:
    """The answer to the body of `POST /chat/completions`.

    JSON where the request asks for a schema (natively, or written out in the prompt), a piece of code where the last
    line of a message names a fence such as ```` ```sql ```` and does not close it, sentences otherwise.

    Raises:
        SchemaError: nothing can be made up for the schema that was asked for.
    """
    prompt = prompt_text(body["messages"])
    seed = int.from_bytes(digest[:8], "little")
    dice = Dice(seed)
    finish_reason = "stop"
    schema = _native_schema(body)
    if schema is not None:
        text = _json(schema, seed)
    elif (written := _written_schema(prompt)) is not None:
        text = f"```json\n{_json(written, seed)}\n```"
    elif "```" in prompt and (language := _asked_language(body["messages"])) is not None:
        text = _code(language, dice)
    else:
        text = _prose(body, digest, dice)
        most = body.get("max_completion_tokens") or body.get("max_tokens")
        if isinstance(most, int) and len(text) > most * CHARACTERS_PER_TOKEN:
            text, finish_reason = text[: most * CHARACTERS_PER_TOKEN], "length"
    return MadeUpAnswer(text, estimate_tokens(prompt), estimate_tokens(text), finish_reason)


def tool_calls(body: Mapping[str, Any], *, digest: bytes, count: int) -> list[dict[str, Any]]:
    """Calls of tools that the request offers, in turns, with arguments made up for their schemas.

    Raises:
        SchemaError: nothing can be made up for a tool's schema.
    """
    seed = int.from_bytes(digest[:8], "little")
    calls = []
    for at in range(count):
        function = body["tools"][(seed + at) % len(body["tools"])]["function"]
        arguments = json_instance(function.get("parameters") or {"type": "object"}, seed=seed + at)
        calls.append(
            {
                "id": f"call_{digest.hex()[:16]}_{at}",
                "type": "function",
                "function": {"name": function["name"], "arguments": orjson.dumps(arguments).decode()},
            }
        )
    return calls


def unfit_json(body: Mapping[str, Any], *, digest: bytes) -> str:
    """An answer that does not fit the schema asked for: half of them do not parse, half have the wrong type."""
    if digest[0] % 2:
        return f'{{"answer": "{LABEL} this JSON ends too ear'
    schema = _native_schema(body)
    return '{"unfit": true}' if schema is not None and schema.get("type") == "array" else '["unfit"]'


def embedding(text: str, *, dimensions: int) -> list[float]:
    """A unit vector that depends on the text alone."""
    dice = Dice(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))
    values = [dice.unit() * 2 - 1 for _ in range(dimensions)]
    norm = sum(value * value for value in values) ** 0.5
    return [value / norm for value in values]


def vector_base64(vector: list[float]) -> str:
    """A vector as endpoints send it for `encoding_format: base64`: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def image_base64(digest: bytes) -> str:
    """An 8 x 8 PNG in one colour that depends on the digest.

    Format: PNG specification (W3C), chunks IHDR, IDAT and IEND; filter type 0 in front of each line.
    """
    size = 8
    pixels = (b"\x00" + digest[:3] * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", zlib.compress(pixels)) + _png_chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode("ascii")


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _json(schema: Schema, seed: int) -> str:
    return orjson.dumps(json_instance(schema, seed=seed)).decode()


def _native_schema(body: Mapping[str, Any]) -> Schema | None:
    wanted = body.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") == "text":
        return None
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    return schema if isinstance(schema, dict) else {"type": "object", "properties": {"answer": {"type": "string"}}}


def _written_schema(prompt: str) -> Schema | None:
    """The last JSON schema that stands in the prompt, for endpoints that do not take one natively."""
    if '"properties"' not in prompt and '"type"' not in prompt:
        return None
    found, position = None, 0
    while (start := _JSON_OBJECT.search(prompt, position)) is not None:
        end = _end_of_object(prompt, start.start())
        found = _parsed_schema(prompt[start.start() : end]) or found
        position = end
    return found


def _end_of_object(text: str, start: int) -> int:
    """Where the braces opened at `start` are closed; the end of the text if they are not."""
    depth, quoted = 0, False
    for match in _JSON_MARKS.finditer(text, start):
        if match[0] == '"':
            quoted = not quoted
        elif not quoted and match[0] in "{}":
            depth += 1 if match[0] == "{" else -1
            if depth == 0:
                return match.end()
    return len(text)


def _parsed_schema(text: str) -> Schema | None:
    """The schema of an object or array, or None: other JSON in a prompt is data."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    shaped = isinstance(value.get("properties"), dict) or isinstance(value.get("$defs"), dict)
    return value if shaped or value.get("type") in ("object", "array") else None


def _asked_language(messages: list[Mapping[str, Any]]) -> str | None:
    for message in reversed(messages):
        asked = _ASKED_FENCE.search(content_text(message.get("content")))
        if asked is not None and message.get("role") != "assistant":
            return asked[1]
    return None


def _code(language: str, dice: Dice) -> str:
    number = dice.below(1000)
    comment, lines = _CODE.get(language.lower().partition(":")[0], ("//", ""))
    return f"```{language}\n{comment} {LABEL} {sentence(dice)}\n{lines.format(number=number)}\n```"


_CODE: dict[str, tuple[str, str]] = {
    "python": ("#", 'def answer() -> int:\n    """Return a number."""\n    return {number}'),
    "sql": ("--", "SELECT {number} AS answer"),
    "bash": ("#", "echo {number}"),
    "ruby": ("#", "puts {number}"),
    "javascript": ("//", "const answer = {number};"),
    "typescript": ("//", "const answer: number = {number};"),
    "rust": ("//", "fn answer() -> u32 {{\n    {number}\n}}"),
    "go": ("//", "package main\n\nfunc answer() int {{\n\treturn {number}\n}}"),
    "java": ("//", "class Answer {{\n    int value = {number};\n}}"),
    "c": ("//", "int answer(void) {{ return {number}; }}"),
    "cpp": ("//", "int answer() {{ return {number}; }}"),
    "csharp": ("//", "int answer = {number};"),
    "kotlin": ("//", "val answer = {number}"),
    "php": ("//", "$answer = {number};"),
    "scala": ("//", "val answer = {number}"),
    "swift": ("//", "let answer = {number}"),
    "cobol": ("*>", "    DISPLAY {number}."),
}


def _prose(body: Mapping[str, Any], digest: bytes, dice: Dice) -> str:
    asked = " ".join(content_text(body["messages"][-1].get("content")).split())
    if len(asked) > _QUOTED_CHARACTERS:
        asked = asked[: _QUOTED_CHARACTERS - 1].rstrip() + "…"
    sentences = [sentence(dice) for _ in range(1 + dice.below(3))]
    return f"{LABEL} Reply {digest[:3].hex()} to “{asked}”: {' '.join(sentences)}"
