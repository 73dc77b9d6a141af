"""What every seed source is: a config model that opens into a table of seed rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_datagen.columns.base import Config
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SeedSource(Config):
    """Where seed rows come from. A subclass names its `seed_type` by a `Literal` field and opens itself."""

    seed_type: str

    def open(self, base_dir: Path) -> SeedTable:
        """The rows of this source.

        Args:
            base_dir: folder of the config file: relative paths start from it.

        Raises:
            ConfigError: the source is not there or cannot be read; says where it was looked for, and what is wrong.
        """
        raise NotImplementedError

    def header(self, base_dir: Path) -> list[str] | None:
        """Names of the columns, where they are told without reading a row; None where the source must be opened.

        Raises:
            ConfigError: as `open` does.
        """
        del base_dir
        return None

    def count_rows(self, base_dir: Path) -> int | None:
        """Number of rows, all of them checked as `open` does, and none kept; None where the source must be opened.

        Raises:
            ConfigError: as `open` does.
        """
        del base_dir
        return None

    def locations(self, base_dir: Path) -> list[str]:
        """Where the rows are: paths and URLs without credentials, as lineage tells them. Nothing is opened."""
        del base_dir
        return []

    def identity(self, base_dir: Path) -> Hashable | None:
        """A value that changes when the source does, found without reading it; None where there is none.

        While it stays the same, a process reads the source once.
        """
        del base_dir
        return None


class SeedTable:
    """Seed rows in numbered parts, read a part at a time.

    Args:
        schema: of the rows, as `plain_schema` gives it.
        part_rows: rows of each part.
        load: yields the parts with the given numbers, which ascend.
        fingerprint: of the content.
        random_access: whether taking a few rows of a part costs less than reading the part.
        relation: gives what DuckDB can scan more than once: a `pyarrow.Table` or `pyarrow.dataset.Dataset`.
        gather_rows: how many scattered rows are best taken at once.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        part_rows: Sequence[int],
        load: Callable[[Sequence[int]], Iterator[pa.RecordBatch | pa.Table]],
        fingerprint: str,
        random_access: bool,
        relation: Callable[[], Any],
        gather_rows: int = 1,
    ) -> None:
        self.schema = schema
        self.fingerprint = fingerprint
        self.random_access = random_access
        self.relation = relation
        self.gather_rows = gather_rows
        self._load = load
        self._bounds = np.concatenate([[0], np.cumsum(part_rows, dtype=np.int64)]).astype(np.int64)

    @property
    def num_rows(self) -> int:
        """Rows of all parts."""
        return int(self._bounds[-1])

    def take(self, indices: NDArray[np.int64]) -> pa.Table:
        """Rows by index, in the order asked for, shape `(len(indices),)`; each part that is needed is loaded once."""
        if len(indices) == 0:
            return self.schema.empty_table()
        order = np.argsort(indices, kind="stable")
        ascending = indices[order]
        numbers, starts = np.unique(np.searchsorted(self._bounds, ascending, side="right") - 1, return_index=True)
        groups = np.split(ascending, starts[1:])
        pieces = [
            _select(part, group - self._bounds[number])
            for number, group, part in zip(numbers, groups, self._load(numbers.tolist()), strict=True)
        ]
        table = pa.concat_tables(pieces)
        if np.array_equal(order, np.arange(len(order))):
            return table
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        return table.take(pa.array(inverse))

    def __repr__(self) -> str:
        return f"SeedTable({self.num_rows} rows, {len(self._bounds) - 1} parts, random_access={self.random_access})"


def refuse_doubled(names: Sequence[str], *, origin: str) -> None:
    """Check that no two columns have the same name.

    Raises:
        ConfigError: some have.
    """
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(f"{origin}: duplicate column name {', '.join(map(repr, doubled))}; rename one of them")


def plain_schema(schema: pa.Schema, *, origin: str) -> pa.Schema:
    """The schema without metadata and without encodings: dictionaries and large or view text become their plain type.

    Raises:
        ConfigError: two columns have the same name.
    """
    refuse_doubled(schema.names, origin=origin)
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without encoding: what dictionaries, run-end encoded, large and view arrays hold; nested ones, too."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, plain_type(field.type)) for field in kind])
    return kind


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with its columns in the order and with the types of `schema`, which `plain_schema` gave."""
    return table.select(schema.names).cast(schema)


def same_names(expected: Sequence[str], found: Sequence[str], *, origin: str, first: str) -> None:
    """Check that one file has the columns of the first file, in any order.

    Raises:
        ConfigError: a column is missing or added. Names both files.
    """
    missing = [name for name in expected if name not in found]
    added = [name for name in found if name not in expected]
    if missing or added:
        raise ConfigError(f"{origin}: columns differ from those of {first}: missing {missing}, added {added}")


def same_schema(expected: pa.Schema, found: pa.Schema, *, origin: str, first: str) -> None:
    """Check that the columns of one file are those of the first file, in any order.

    Raises:
        ConfigError: a column is missing, added, or of another type. Names both files.
    """
    same_names(expected.names, found.names, origin=origin, first=first)
    for field in expected:
        if found.field(field.name).type != field.type:
            kinds = f"{found.field(field.name).type}, but {field.type} in {first}"
            raise ConfigError(f"{origin}: column {field.name!r} is {kinds}")


def rebatch(tables: Iterable[pa.Table | pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `rows` rows, the last one shorter, each column in one chunk."""
    waiting: list[pa.Table] = []
    held = 0
    for item in tables:
        table = pa.Table.from_batches([item]) if isinstance(item, pa.RecordBatch) else item
        while held + table.num_rows >= rows:
            cut = rows - held
            yield pa.concat_tables([*waiting, table.slice(0, cut)]).combine_chunks()
            table, waiting, held = table.slice(cut), [], 0
        if table.num_rows:
            waiting.append(table)
            held += table.num_rows
    if held:
        yield pa.concat_tables(waiting).combine_chunks()


def _select(part: pa.RecordBatch | pa.Table, positions: NDArray[np.int64]) -> pa.Table:
    first, count = int(positions[0]), len(positions)
    if int(positions[-1]) - first == count - 1 and len(np.unique(positions)) == count:
        chosen = part.slice(first, count)
    else:
        chosen = part.take(pa.array(positions))
    return pa.Table.from_batches([chosen]) if isinstance(chosen, pa.RecordBatch) else chosen
