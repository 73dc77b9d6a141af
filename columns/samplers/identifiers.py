"""UUID sampler: identifiers that are unique over the whole run, the short form by construction.

Eight hexadecimal digits drawn at random collide soon: among 100,000 rows one pair is expected to. So they are permuted
instead: the first eight digits are the image of the row index under a permutation of all 32-bit numbers, keyed by run
seed and column. It is a Feistel network (Luby and Rackoff, "How to construct pseudorandom permutations from
pseudorandom functions", SIAM J. Comput. 1988): whatever the round function, each round can be undone, so no two rows
share an image. The other 24 digits are random, but for those that mark a version 4 UUID.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from prefect_datagen.columns.samplers.base import Conversion, Plan, Rows, SamplerParams, Target
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.randomness import RowStream

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORT_FORMS = 1 << 32

_ROUNDS = 6
_KEY_ATTEMPT = -1  # no attempt at a row has this number, so the round keys meet no row's words


class UUIDSamplerParams(SamplerParams):
    """Random UUIDs (version 4) without hyphens, or their first eight digits; no two rows share one."""

    conversion: ClassVar[Conversion] = Conversion.TEXT

    sampler_type: Literal["uuid"] = "uuid"
    prefix: str | None = Field(default=None, description="Text in front of each identifier.")
    short_form: bool = Field(default=False, description="Only the first 8 of 32 digits; for up to 2**32 rows.")
    uppercase: bool = Field(default=False, description="Digits A to F instead of a to f; the prefix stays as it is.")

    def drawn_type(self) -> pa.DataType:
        """Text."""
        return pa.string()

    def plan(self, target: Target) -> Plan:
        """Two words per row; none for the short form."""
        keys = RowStream(target.seed, target.column, _KEY_ATTEMPT).words(0, 1, _ROUNDS)[0]

        def draw(rows: Rows) -> pa.Array:
            if self.short_form and len(rows.index) and rows.index[-1] >= SHORT_FORMS:
                raise ConfigError(
                    f"column {target.column!r}: params.short_form has {SHORT_FORMS:,} identifiers and row "
                    f"{int(rows.index[-1]):,} needs one more: two rows would share one; leave short_form out",
                    column=target.column,
                )
            head = permute((rows.index % SHORT_FORMS).astype(np.uint32), keys).astype(">u4").view(np.uint8)
            digits = head.reshape(-1, 4)
            if not self.short_form:
                digits = np.concatenate([digits, _tail(rows.words[:, :2])], axis=1)
            return _hexadecimal(digits, prefix=(self.prefix or "").encode(), uppercase=self.uppercase)

        return Plan(0 if self.short_form else 2, draw)


def permute(numbers: NDArray[np.uint32], keys: Iterable[np.uint64]) -> NDArray[np.uint32]:
    """Image of 32-bit numbers, shape `(n,)`, under the permutation that the keys choose."""
    left, right = numbers >> np.uint32(16), numbers & np.uint32(0xFFFF)
    for key in keys:
        left, right = right, left ^ (_mix(right, key) & np.uint32(0xFFFF))
    return left << np.uint32(16) | right


def _mix(half: NDArray[np.uint32], key: np.uint64) -> NDArray[np.uint32]:
    # The finalizer of MurmurHash3 (Appleby): every bit of the input reaches every bit of the output.
    mixed = half + np.uint32(key & np.uint64(0xFFFFFFFF))
    mixed = (mixed ^ mixed >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    mixed = (mixed ^ mixed >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return mixed ^ mixed >> np.uint32(16)


def _tail(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Bytes 4 to 15 of version 4 UUIDs (RFC 9562), shape `(n, 12)`."""
    tail = words.astype("<u8", order="C").view(np.uint8).reshape(len(words), 16)[:, 4:].copy()
    tail[:, 2] = tail[:, 2] & 0x0F | 0x40
    tail[:, 4] = tail[:, 4] & 0x3F | 0x80
    return tail


def _hexadecimal(digits: NDArray[np.uint8], *, prefix: bytes, uppercase: bool) -> pa.Array:
    """Text of bytes, shape `(n, bytes)`, two digits each."""
    pairs = [f"{byte:02X}" if uppercase else f"{byte:02x}" for byte in range(256)]
    table = np.frombuffer("".join(pairs).encode(), dtype=np.uint16)
    width = len(prefix) + 2 * digits.shape[1]
    text = np.empty((len(digits), width), dtype=np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix, dtype=np.uint8)
    text[:, len(prefix) :] = table[digits].view(np.uint8).reshape(len(digits), 2 * digits.shape[1])
    offsets = np.arange(len(digits) + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(len(digits), pa.py_buffer(offsets), pa.py_buffer(text))
