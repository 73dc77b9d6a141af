"""What the engine knows of a column: a node of the graph, and the generator that fills it.

A node names the columns it reads and writes and says how it is filled:

* `FULL_COLUMN`: one call of a `FullColumnGenerator` for the whole row group, in a worker thread. It starts when every
  input column is finished for every row.
* `CELL`: one call per row, on the event loop. It starts when the inputs of *its own row* are there.

A cell needs a *resource* to run: the alias of a model, `THREADS` (the worker pool, for blocking user code), `LOOP`
(async user code), or `INLINE` (cheap and synchronous: an expression). The scheduler decides which ready cell gets a
free slot of a resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, overload

from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.chat import ChatAnswer, ChatRequest, EmbeddingRequest, ImageRequest
from prefect_datagen.engine.errors import CellError

if TYPE_CHECKING:
    from numpy.typing import NDArray

THREADS = "(threads)"
LOOP = "(loop)"
INLINE = "(inline)"


class Strategy(StrEnum):
    """How a column is filled."""

    FULL_COLUMN = "full_column"
    CELL = "cell_by_cell"


class RowKey(NamedTuple):
    """A row's identity, stable over resumes: its index in the dataset, and which copy of it after a resize."""

    index: int  # type: ignore[assignment]  # tuples have a method of this name; nobody looks for a number in a key
    copy: int = 0


class RowKeys(Sequence[RowKey]):
    """The identities of the rows of a row group, in order. Held as two arrays: an object per row would cost more than
    sampling it.

    Attributes:
        index: row of the dataset, int64, shape `(n,)`.
        copy: which copy of it, int64, shape `(n,)`.
    """

    __slots__ = ("copy", "index")

    def __init__(self, index: NDArray[np.int64], copy: NDArray[np.int64]) -> None:
        self.index: NDArray[np.int64] = index  # type: ignore[assignment]
        self.copy = copy

    @classmethod
    def consecutive(cls, start: int, rows: int) -> RowKeys:
        """Rows `start` to `start + rows`, each once."""
        return cls(np.arange(start, start + rows, dtype=np.int64), np.zeros(rows, dtype=np.int64))

    @classmethod
    def numbered(cls, index: NDArray[np.int64]) -> RowKeys:
        """Rows that come from these dataset rows, in order; the n-th row of one index is copy n."""
        copy = np.zeros(len(index), dtype=np.int64)
        if not (np.diff(index) > 0).all():
            seen: dict[int, int] = {}
            for at, row in enumerate(index.tolist()):
                copy[at] = seen.get(row, 0)
                seen[row] = seen.get(row, 0) + 1
        return cls(index, copy)

    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> RowKeys:
        """The keys at these positions."""
        at = np.asarray(positions, dtype=np.int64)
        return RowKeys(self.index[at], self.copy[at])

    def __len__(self) -> int:
        return len(self.index)

    @overload
    def __getitem__(self, at: int) -> RowKey: ...

    @overload
    def __getitem__(self, at: slice) -> RowKeys: ...

    def __getitem__(self, at: int | slice) -> RowKey | RowKeys:
        if isinstance(at, slice):
            return RowKeys(self.index[at], self.copy[at])
        return RowKey(int(self.index[at]), int(self.copy[at]))

    def __repr__(self) -> str:
        return f"RowKeys({list(self)!r})"


class Models(Protocol):
    """Model access for generators: limits, journal, retries' accounting and budgets are applied behind it."""

    async def chat(self, alias: str, request: ChatRequest, *, tools: str | None = None) -> ChatAnswer:
        """One model call for the current cell; with the alias of `tools`, as many as the model needs for its answer.

        Raises:
            ModelError: classified by the client. Let it pass: the driver retries or rejects.
        """
        ...

    async def embed(self, alias: str, request: EmbeddingRequest) -> list[list[float]]:
        """One vector per text, in order, by one call for the current cell. Raises as `chat` does."""
        ...

    async def image(self, alias: str, request: ImageRequest) -> bytes:
        """One image file, by one call for the current cell. Raises as `chat` does."""
        ...


@dataclass(slots=True)
class Cell:
    """One cell about to be made. `inputs` holds the row's values of the node's input columns, by name."""

    column: str
    row_group: int
    row: RowKey
    attempt: int
    inputs: Mapping[str, Any]
    models: Models


class CellGenerator(Protocol):
    """Fills one cell. Returns one value per column in the node's `produces`, in that order."""

    async def generate(self, cell: Cell) -> tuple[Any, ...]:
        """Make the cell.

        Raises:
            ModelError: the call failed; the driver decides by its kind.
            CellError: this row cannot be made; it is rejected.
        """
        ...


class InlineGenerator(Protocol):
    """Fills one cell synchronously in microseconds; for nodes whose resource is `INLINE`."""

    def generate_now(self, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Make the cell from the row's input values.

        Raises:
            CellError: this row cannot be made; it is rejected.
        """
        ...


@dataclass(slots=True)
class Batch:
    """The live rows of a row group, as a full-column generator sees them, in order.

    Attributes:
        rows: identity of each row, shape `(n,)`.
        columns: the node's input columns, each an Arrow array of shape `(n,)`.
        models: model access for generators that call models. Blocking callers use `models` through the driver.
    """

    row_group: int
    rows: Sequence[RowKey]
    columns: Mapping[str, pa.Array]
    models: Models | None = None


@dataclass(slots=True)
class FullColumn:
    """What a full-column generator made: `arrays` by column name, each of shape `(n,)` as in the batch.

    `rejected` maps positions in the batch to why that row is lost. With `parents`, the generator changed the number of
    rows: `parents[i]` is the batch position that output row `i` came from (only where the node allows a resize).
    """

    arrays: Mapping[str, pa.Array]
    rejected: Mapping[int, CellError] = field(default_factory=dict)
    parents: Sequence[int] | None = None


class FullColumnGenerator(Protocol):
    """Fills a column of a whole row group, in a worker thread."""

    def generate_batch(self, batch: Batch) -> FullColumn:
        """Make the column for the live rows of a row group; order is kept.

        Raises:
            Exception: anything fails the run as a `ProcessorError` that names column and row group.
        """
        ...


class SkipRule(Protocol):
    """When a cell is not made, and what stands there instead."""

    @property
    def value(self) -> Any:
        """Value of a skipped cell."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that the condition reads."""
        ...

    def applies(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the row with these values is skipped. Raises `CellError` where the condition cannot be told."""
        ...


@dataclass(frozen=True)
class ColumnNode:
    """A column as the engine sees it.

    `inputs` are the columns that the generator reads; those that only `skip` reads are added by `needs`. `types` gives
    the Arrow type of each column in `produces`. `generator` fits `strategy` and `resource`.
    """

    name: str
    produces: tuple[str, ...]
    inputs: tuple[str, ...]
    strategy: Strategy
    resource: str
    generator: CellGenerator | InlineGenerator | FullColumnGenerator
    types: tuple[pa.DataType, ...]
    skip: SkipRule | None = None
    propagate_skip: bool = True
    allow_resize: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """All columns that must be finished first: those that the generator reads, then those that only `skip` reads."""
        only_skip = () if self.skip is None else (name for name in self.skip.inputs if name not in self.inputs)
        return (*self.inputs, *only_skip)
