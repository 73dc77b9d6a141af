"""Fenced blocks in a model's answer, as Markdown writes them, and what a model thought aloud before it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,})[ \t]*(?P<tag>[^\s`]*)[^`\n]*$", re.MULTILINE)
_END_OF_THINKING = "</think>"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language tag in lower case, its lines, and whether the fence was closed."""

    tag: str
    text: str
    closed: bool


def fenced_blocks(text: str) -> Iterator[Block]:
    """The blocks in order. A fence is closed by a bare one of the same kind that is at least as long."""
    position = 0
    while (opening := _FENCE.search(text, position)) is not None:
        start = opening.end() + 1
        closing = _closing(text, start, opening["fence"])
        if closing is None:
            yield Block(opening["tag"].lower(), text[start:], closed=False)
            return
        yield Block(opening["tag"].lower(), text[start : closing.start()].removesuffix("\n"), closed=True)
        position = closing.end()


def after_thinking(text: str) -> str:
    """What follows a `<think>...</think>` block; all of it where there is none, nothing where it does not end.

    Some endpoints leave the opening tag out, so the closing one counts, too, unless the answer has begun before it.
    """
    start = text.lstrip()
    if start.startswith(("{", "[", "`", "~")):
        return text
    if start.startswith("<think>") and _END_OF_THINKING not in text:
        return ""
    return text.rpartition(_END_OF_THINKING)[2]


def _closing(text: str, start: int, fence: str) -> re.Match[str] | None:
    for found in _FENCE.finditer(text, min(start, len(text))):
        same = found["fence"][0] == fence[0] and len(found["fence"]) >= len(fence)
        if same and not found[0].strip(" \t").strip(fence[0]):
            return found
    return None
