"""Fenced blocks and thinking in a model's answer."""

from __future__ import annotations

import pytest

from prefect_datagen.columns.fences import Block, after_thinking, fenced_blocks


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("no fence", []),
        ("```\nx\n```", [Block("", "x", True)]),
        ("Here:\n```Python\na\n\n  b\n```\nDone.", [Block("python", "a\n\n  b", True)]),
        ("```py title=x\na\n```\n~~~sql\nb\n~~~", [Block("py", "a", True), Block("sql", "b", True)]),
        ("````md\n```\ninner\n```\n````", [Block("md", "```\ninner\n```", True)]),
        ("```python\nx = 1", [Block("python", "x = 1", False)]),
        ("```", [Block("", "", False)]),
        ("```\n```", [Block("", "", True)]),
        ("  ```sh\n  ls\n  ```", [Block("sh", "  ls", True)]),
        ("inline ```code``` is none", []),
    ],
)
def test_blocks_are_found_with_tag_and_lines(text: str, blocks: list[Block]) -> None:
    assert list(fenced_blocks(text)) == blocks


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("<think>a</think>b", "b"),
        ("thoughts</think>\nb", "\nb"),
        ("<think>never ends", ""),
        ('{"html": "</think>"}', '{"html": "</think>"}'),
        ("plain", "plain"),
    ],
)
def test_what_was_thought_aloud_is_no_part_of_the_answer(text: str, rest: str) -> None:
    assert after_thinking(text) == rest
