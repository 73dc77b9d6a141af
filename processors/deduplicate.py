"""Rows that are there already are left out: exactly the same, or nearly."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from prefect_datagen.engine.errors import ConfigError, ProcessorError
from prefect_datagen.processors.base import ROW_ID, ProcessorContext, Stage, unknown_columns
from prefect_datagen.processors.query import ChoosingProcessorConfig
from prefect_datagen.processors.session import quoted
from prefect_datagen.processors.spooled import POSITION

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH


class DuplicateMethod(StrEnum):
    """What makes two rows duplicates."""

    EXACT = "exact"
    MINHASH = "minhash"


class DeduplicateProcessorConfig(ChoosingProcessorConfig):
    """Keep the first of the rows that are duplicates of each other.

    `exact`: equal values in `columns`; NULL equals NULL. `minhash`: texts whose sets of character sequences overlap by
    at least `threshold` (Jaccard similarity), estimated by MinHash (Broder, "On the resemblance and containment of
    documents", 1997) and found by locality-sensitive hashing, of the package `datasketch`.

    Example:
        ```yaml
        - {name: once, processor_type: deduplicate, columns: [question], method: minhash, threshold: 0.85}
        ```
    """

    processor_type: Literal["deduplicate"] = "deduplicate"
    stage: Stage = Field(
        default=Stage.AFTER_GENERATION,
        validation_alias=ChoosingProcessorConfig.model_fields["stage"].validation_alias,
        description="When it runs. In a batch, duplicates are found within their row group only.",
    )
    columns: list[str] | None = Field(
        default=None, min_length=1, description="Columns that are compared; all where none is named."
    )
    method: DuplicateMethod = Field(default=DuplicateMethod.EXACT, description="exact, or minhash for near duplicates.")
    threshold: float = Field(
        default=0.8, gt=0, le=1, description="minhash: similarity from which on rows are the same."
    )
    num_perm: int = Field(default=128, ge=16, le=1024, description="minhash: hash functions; more are more exact.")
    shingle: int = Field(default=5, ge=1, description="minhash: length of the character sequences that are compared.")

    def check(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Whether the columns are defined, and the package is there."""
        for at, name in enumerate(self.columns or []):
            for message in unknown_columns([name], known):
                yield f"columns[{at}]", message
        if self.method is DuplicateMethod.MINHASH:
            try:
                _require_datasketch()
            except ConfigError as error:
                yield "method", error.message

    def positions_query(self, names: Collection[str]) -> str:
        """Position of the first row of each group of equal ones."""
        compared = ", ".join(quoted(name) for name in self.columns or names)
        return f"SELECT min({POSITION}) FROM rows GROUP BY {compared}"

    def apply(self, table: pa.Table, context: ProcessorContext) -> pa.Table:
        """Keep the first of each, within one row group."""
        if self.method is DuplicateMethod.EXACT:
            return super().apply(table, context)
        return table.filter(pa.array(_NearDuplicates(self).first_ones(table)))

    def apply_to_all(
        self, tables: Iterator[pa.Table], schema: pa.Schema, context: ProcessorContext
    ) -> Iterator[pa.Table]:
        """Keep the first of each, of all rows. With minhash, about 10 KB of memory are held for each row that is kept."""
        if self.method is DuplicateMethod.EXACT:
            yield from super().apply_to_all(tables, schema, context)
            return
        seen = _NearDuplicates(self)
        for table in tables:
            yield table.filter(pa.array(seen.first_ones(table)))


class _NearDuplicates:
    """The texts seen so far."""

    def __init__(self, config: DeduplicateProcessorConfig) -> None:
        _require_datasketch()
        from datasketch import MinHash, MinHashLSH

        self._config = config
        self._empty: MinHash = MinHash(num_perm=config.num_perm)
        # The index finds candidates, and cannot be tuned to find equal texts only: `_is_new` looks at each.
        self._index: MinHashLSH = MinHashLSH(threshold=min(config.threshold, 0.9), num_perm=config.num_perm)
        self._kept: list[MinHash] = []

    def first_ones(self, table: pa.Table) -> NDArray[np.bool_]:
        """Whether each row is the first of its like, among those of earlier calls, too; shape `(n,)`."""
        names = self._config.columns or [name for name in table.column_names if name != ROW_ID]
        missing = [name for name in names if name not in table.column_names]
        if missing:
            raise ProcessorError(f"column {missing[0]!r} is not there")
        columns = [table.column(name).to_pylist() for name in names]
        return np.array([self._is_new(row) for row in zip(*columns, strict=True)], dtype=bool)

    def _is_new(self, values: Sequence[object]) -> bool:
        sketch = self._empty.copy()
        sketch.update_batch(_shingles(values, self._config.shingle))
        for position in self._index.query(sketch):
            if self._kept[position].jaccard(sketch) >= self._config.threshold:
                return False
        self._index.insert(len(self._kept), sketch)
        self._kept.append(sketch)
        return True


def _shingles(values: Iterable[object], length: int) -> list[bytes]:
    """The sets of character sequences of a row; case and the width of white space make no difference."""
    texts = ["" if value is None else re.sub(r"\s+", " ", str(value)).strip().lower() for value in values]
    text = "\x1f".join(texts)
    return sorted({text[at : at + length].encode() for at in range(max(len(text) - length, 0) + 1)})


def _require_datasketch() -> None:
    try:
        import datasketch  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "method minhash needs the package datasketch: pip install 'prefect-datagen[deduplicate]'"
        ) from error
