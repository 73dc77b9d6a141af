"""A fixed shuffle of any size, computed where it is needed and never held in memory.

Cycle `c` of a seed of `n` rows is read in the order of a permutation that depends on the run seed, `c` and `n` only.

* Up to `_SORTED_BELOW` rows: the order that sorts keyed random words. Every permutation is equally likely, and a small
  domain is where a Feistel network would be poor.
* Above: a balanced Feistel network on the smallest power of four that holds the domain, walked on until the value falls
  inside it ("cycle walking": Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). One row costs a
  few integer operations whatever `n` is, so a seed of 10 million rows needs no array of 10 million indices.

Random words and the round function are SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014), keyed by BLAKE2b.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_datagen.engine.arrays import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SORTED_BELOW = 1 << 14
_ROUNDS = 10
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Shuffle:
    """The endless shuffled reading of `size` rows: one permutation after the other, each keyed by its cycle."""

    seed: int
    size: int

    def positions(self, start: int, rows: int) -> NDArray[np.int64]:
        """Seed rows, in `[0, size)`, of dataset rows `start` to `start + rows`; shape `(rows,)`."""
        if rows == 0:
            return np.empty(0, dtype=np.int64)
        if self.size <= _SORTED_BELOW:
            return self._sorted(start, rows)
        cycles = range(start // self.size, (start + rows - 1) // self.size + 1)
        pieces = [self._cycle(cycle, start, start + rows) for cycle in cycles]
        return np.concatenate(pieces)

    def _sorted(self, start: int, rows: int) -> NDArray[np.int64]:
        first = start // self.size
        cycles = (start + rows - 1) // self.size + 1 - first
        counters = np.arange(first * self.size, (first + cycles) * self.size, dtype=np.uint64)
        words = _mix(counters * _GOLDEN + self._key(-1)).reshape(cycles, self.size)
        order = np.argsort(words, axis=1, kind="stable").reshape(-1)
        skip = start - first * self.size
        return order[skip : skip + rows].astype(np.int64)

    def _cycle(self, cycle: int, start: int, stop: int) -> NDArray[np.int64]:
        low = max(start - cycle * self.size, 0)
        high = min(stop - cycle * self.size, self.size)
        values = np.arange(low, high, dtype=np.uint64)
        half = np.uint64(((self.size - 1).bit_length() + 1) // 2)
        mask = np.uint64((1 << int(half)) - 1)
        keys = _mix(self._key(cycle) + np.arange(1, _ROUNDS + 1, dtype=np.uint64) * _GOLDEN)
        outside = np.ones(len(values), dtype=bool)
        while outside.any():  # less than four walks on average: the domain is more than a quarter of the power of four
            values[outside] = _encrypt(values[outside], keys, half, mask)
            outside = values >= self.size
        return values.astype(np.int64)

    def _key(self, cycle: int) -> NDArray[np.uint64]:
        text = f"seed-shuffle\x1f{self.seed}\x1f{self.size}\x1f{cycle}".encode()
        # An array of one, not a scalar: NumPy warns about the wrap-around of scalars, which is meant here.
        return np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), dtype="<u8").astype(np.uint64)


def _encrypt(
    values: NDArray[np.uint64], keys: NDArray[np.uint64], half: np.uint64, mask: np.uint64
) -> NDArray[np.uint64]:
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right + key) & mask)
    return (left << half) | right


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
