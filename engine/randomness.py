"""Counter-based randomness: a value depends on the run seed, the column, the attempt and the row; on nothing else.

Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) maps a 256-bit counter and a 128-bit key
to four 64-bit words. The key is made of seed, column name and attempt; the counter is the row index. So the value of a
row is the same whatever the row-group size, the order, the machine or the number of resumes, and the streams of two
columns never meet. A sampler may use as many words per row as it likes: the words of one row are the blocks at
`(row, 0), (row, 1), ...`, the block number standing in the counter's second word.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WORDS_PER_BLOCK = 4
_TO_UNIT = 2.0**-53


@dataclass(frozen=True)
class RowStream:
    """The random words of one column: a pure function of (seed, column, attempt, row)."""

    seed: int
    column: str
    attempt: int = 0

    def words(self, start: int, rows: int, width: int) -> NDArray[np.uint64]:
        """Words of rows `start` to `start + rows`, shape `(rows, width)`, uniform over all 64-bit integers."""
        blocks = -(-width // _WORDS_PER_BLOCK)
        columns = [self._block(start, rows, number) for number in range(blocks)]
        joined = columns[0] if blocks == 1 else np.concatenate(columns, axis=1)
        return joined[:, :width]

    def uniforms(self, start: int, rows: int, width: int = 1) -> NDArray[np.float64]:
        """Floats in [0, 1) with 53 random bits, shape `(rows, width)`."""
        return (self.words(start, rows, width) >> np.uint64(11)).astype(np.float64) * _TO_UNIT

    def _block(self, start: int, rows: int, number: int) -> NDArray[np.uint64]:
        counter = start | (number << 64)
        raw = np.random.Philox(counter=counter, key=self._key()).random_raw(rows * _WORDS_PER_BLOCK)
        return np.asarray(raw, dtype=np.uint64).reshape(rows, _WORDS_PER_BLOCK)

    def _key(self) -> int:
        text = f"{self.seed}\x1f{self.column}\x1f{self.attempt}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
