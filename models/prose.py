"""Deterministic dice and plain sentences, for answers that no model wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

LABEL = "[offline model]"
"""Stands at the start of every text that the offline model or the mock model server makes up."""

_MASK = (1 << 64) - 1

_SUBJECTS = (
    "The first part", "The short version", "The main point", "A second look", "The plain answer", "The usual case",
    "Most of it", "The detail", "The example", "The other side", "The beginning", "The rest",
)  # fmt: skip
_VERBS = (
    "is clear enough for", "says little about", "goes well with", "came before", "stands beside", "leaves room for",
    "was meant for", "depends on", "is easier than", "agrees with", "follows from", "was tried before",
)  # fmt: skip
_OBJECTS = (
    "the next step", "a careful reader", "the question asked", "what was given", "the numbers shown", "a quiet morning",
    "the second visit", "an honest review", "the rules in force", "a longer story", "the people there", "common sense",
)  # fmt: skip
_TAILS = (
    "", "", "", ", as expected", ", more or less", ", and that is fine", ", though not always", ", on the whole",
)  # fmt: skip

_T = TypeVar("_T")


class Dice:
    """A stream of numbers that depends on the seed alone, the same in every Python version.

    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def word(self) -> int:
        """64 random bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, limit: int) -> int:
        """An integer from 0 to `limit - 1`."""
        return self.word() % limit

    def unit(self) -> float:
        """A float in [0, 1)."""
        return (self.word() >> 11) * 2.0**-53

    def pick(self, options: Sequence[_T]) -> _T:
        """One of the options."""
        return options[self.word() % len(options)]


def sentence(dice: Dice) -> str:
    """A short sentence about nothing in particular."""
    return f"{dice.pick(_SUBJECTS)} {dice.pick(_VERBS)} {dice.pick(_OBJECTS)}{dice.pick(_TAILS)}."


def labelled_text(dice: Dice, *, shortest: int = 0, longest: int | None = None) -> str:
    """A labelled sentence of `shortest` to `longest` characters; without the label where it does not fit."""
    text = f"{LABEL} {sentence(dice)}"
    while len(text) < shortest:
        text += f" {sentence(dice)}"
    if longest is None or len(text) <= longest:
        return text
    if longest < len(LABEL) + 8:
        text = text[len(LABEL) + 1 :]
    return text[:longest].rstrip().ljust(shortest, ".")
