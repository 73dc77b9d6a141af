"""Randomness by row: a value depends on the run seed, the column, the attempt and the row; on nothing else.

PCG64DXSM (O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
Generation", 2014; NumPy's choice where there are many streams) is told where to go on: the word of a row is the word at
the row's index of a *stream*, and a stream is seeded by run seed, column name and attempt. So the value of a row is the
same whatever the row-group size, the order, the machine or the number of resumes, and the streams of two columns do not
meet. A sampler may use as many words per row as it likes: each comes from a stream of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_datagen.engine.arrays import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        made = [self._generator(number).advance(start).random_raw(rows) for number in range(width)]
        if width == 1:
            return np.asarray(made[0])[:, np.newaxis]
        return np.array(made, dtype=np.uint64).reshape(width, rows).T

    def uniforms(self, start: int, rows: int, width: int = 1) -> NDArray[np.float64]:
        """Floats in [0, 1) with 53 random bits, shape `(rows, width)`."""
        return unit(self.words(start, rows, width))

    def _generator(self, number: int) -> np.random.PCG64DXSM:
        text = f"{self.seed}\x1f{self.column}\x1f{self.attempt}\x1f{number}".encode()
        return np.random.PCG64DXSM(int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little"))


def unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Floats in [0, 1) with 53 random bits, of the shape of `words`."""
    bits = (words >> np.uint64(11)).view(
        np.int64
    )  # signed integers are converted by the CPU, unsigned ones by a routine
    return bits.astype(np.float64) * 2.0**-53
