"""Counter-based randomness: a value depends on the run seed, the column, the attempt and the row; on nothing else.

Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) maps a 256-bit counter and a 128-bit key
to a *block* of four 64-bit words. The key is made of seed, column name and attempt; the counter is made of the row index.
So the value of a row is the same whatever the row-group size, the order, the machine or the number of resumes, and the
streams of two columns never meet.

A sampler may use as many words per row as it likes. The j-th words of four neighbouring rows share the block at
`(row // 4, j)`, the second number standing in the counter's second word, so none are made in vain.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WORDS_PER_BLOCK = 4


@dataclass(frozen=True)
class RowStream:
    """The random words of one column: a pure function of (seed, column, attempt, row)."""

    seed: int
    column: str
    attempt: int = 0

    def words(self, start: int, rows: int, width: int) -> NDArray[np.uint64]:
        """Words of rows `start` to `start + rows`, shape `(rows, width)`, uniform over all 64-bit integers.

        The words at one place of all rows, `[:, j]`, stand together in memory.
        """
        block, before = divmod(start, _WORDS_PER_BLOCK)
        key = self._key()
        made = np.empty((width, rows), dtype=np.uint64)
        for number in range(width):
            bits = np.random.Philox(counter=block | (number << 64), key=key)
            made[number] = bits.random_raw(before + rows)[before:]
        return made.T

    def uniforms(self, start: int, rows: int, width: int = 1) -> NDArray[np.float64]:
        """Floats in [0, 1) with 53 random bits, shape `(rows, width)`."""
        return unit(self.words(start, rows, width))

    def _key(self) -> int:
        text = f"{self.seed}\x1f{self.column}\x1f{self.attempt}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Floats in [0, 1) with 53 random bits, of the shape of `words`."""
    bits = (words >> np.uint64(11)).view(
        np.int64
    )  # signed integers are converted by the CPU, unsigned ones by a routine
    return bits.astype(np.float64) * 2.0**-53
