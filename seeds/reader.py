"""Reading a seed: which seed row each dataset row takes, the same at every resume and in every process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedTable
from prefect_datagen.seeds.config import SamplingStrategy, SeedConfig
from prefect_datagen.seeds.permutation import Shuffle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prefect_datagen.seeds.stream import SeedStream

_OPENED_KEPT = 4
_WINDOWS_KEPT = 2


@dataclass(frozen=True)
class _Opened:
    """An open source and the rows that are chosen of it: `count` of them, from `first` on."""

    identity: Hashable | None
    table: SeedTable
    first: int
    count: int
    fingerprint: str


_opened: OrderedDict[tuple[str, str], _Opened] = OrderedDict()
_offered: dict[str, SeedStream] = {}
_opening = threading.RLock()  # a source may open another one


@contextmanager
def offered(streams: Iterable[SeedStream]) -> Iterator[None]:
    """Let ordered seeds of these streams' datasets be read through them, by everything in this process."""
    given = {stream.location: stream for stream in streams}
    _offered.update(given)
    try:
        yield
    finally:
        for location in given:
            _offered.pop(location, None)


def open_seed(config: SeedConfig, *, base_dir: Path, run_seed: int) -> SeedReader | SeedStream:
    """Open the seed data of a config.

    A process reads a source once: opening the same files again, unchanged, takes what was read before. A dataset that is
    being built may be `offered` as a stream.

    Args:
        base_dir: folder of the config file: relative paths start from it.
        run_seed: decides the order of a shuffled seed.

    Raises:
        ConfigError: the source is not there, cannot be read, has no rows, or fewer than are selected.
    """
    stream = _stream_of(config)
    if stream is not None:
        return stream
    identity = config.source.identity(base_dir)
    with _opening:
        known = _opened.get(_key(config, base_dir))
        if known is None or identity is None or known.identity != identity:
            known = _open(config, base_dir, identity)
        return SeedReader(config, base_dir=base_dir, run_seed=run_seed, opened=known)


def seed_columns(config: SeedConfig, *, base_dir: Path) -> list[str]:
    """Names of the seed's columns; its rows are read only where they tell the names.

    Raises:
        ConfigError: the source is not there, or cannot be read.
    """
    header = None if _stream_of(config) else config.source.header(base_dir)
    return open_seed(config, base_dir=base_dir, run_seed=0).schema.names if header is None else header


def check_seed_rows(config: SeedConfig, *, base_dir: Path) -> None:
    """Read all rows of a seed once, as `open_seed` does before a run.

    Raises:
        ConfigError: as `open_seed`.
    """
    count = config.source.count_rows(base_dir)
    if count is None:
        open_seed(config, base_dir=base_dir, run_seed=0)
    else:
        _chosen(config, count)


def _stream_of(config: SeedConfig) -> SeedStream | None:
    """A stream tells its rows in order, as they come; what takes them otherwise needs the finished dataset."""
    if not _offered:
        return None
    from prefect_datagen.seeds.dataset import DatasetSeedSource

    ordered = config.sampling_strategy is SamplingStrategy.ORDERED and config.selection_strategy is None
    return _offered.get(config.source.path) if ordered and isinstance(config.source, DatasetSeedSource) else None


class SeedReader:
    """Seed rows by dataset row. Threads may share it; pickled, it opens the source again where it arrives.

    Attributes:
        schema: of all columns of the seed.
        num_rows: seed rows that are chosen; after them a new cycle begins.
        fingerprint: of the whole source's content; paths are no part of it where they are no part of the rows.
    """

    def __init__(self, config: SeedConfig, *, base_dir: Path, run_seed: int, opened: _Opened) -> None:
        self._config = config
        self._base_dir = base_dir
        self._run_seed = run_seed
        self._opened = opened
        shuffled = config.sampling_strategy is SamplingStrategy.SHUFFLE
        self._shuffle = Shuffle(run_seed, opened.count) if shuffled else None
        self._windows: OrderedDict[int, pa.Table] = OrderedDict()
        self._gathering = threading.Lock()
        self.schema: pa.Schema = opened.table.schema
        self.num_rows = opened.count
        self.fingerprint = opened.fingerprint

    def read(self, start: int, rows: int) -> pa.Table:
        """Seed rows of dataset rows `start` to `start + rows`, all columns, shape `(rows,)`.

        Raises:
            ConfigError: a file was changed since it was opened.
        """
        if self._shuffle is None:
            return self._take(np.arange(start, start + rows, dtype=np.int64) % self.num_rows)
        window = self._opened.table.gather_rows
        if rows >= window:
            return self._take(self._shuffle.positions(start, rows))
        # Neighbouring row groups are served from the same window of scattered rows.
        numbers = range(start // window, (start + rows - 1) // window + 1)
        found = pa.concat_tables([self._window(number) for number in numbers] or [self.schema.empty_table()])
        return found.slice(start - start // window * window, rows)

    def _take(self, chosen: NDArray[np.int64]) -> pa.Table:
        return self._opened.table.take(chosen + self._opened.first)

    def _window(self, number: int) -> pa.Table:
        assert self._shuffle is not None
        with self._gathering:
            if number not in self._windows:
                rows = self._opened.table.gather_rows
                self._windows[number] = self._take(self._shuffle.positions(number * rows, rows))
                while len(self._windows) > _WINDOWS_KEPT:
                    self._windows.popitem(last=False)
            self._windows.move_to_end(number)
            return self._windows[number]

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self._config, self._base_dir, self._run_seed, self.fingerprint)

    def __repr__(self) -> str:
        order = self._config.sampling_strategy.value
        return f"SeedReader({self._config.source.seed_type}, {self.num_rows} rows, {order})"


def _reopen(config: SeedConfig, base_dir: Path, run_seed: int, fingerprint: str) -> SeedReader:
    with _opening:
        known = _opened.get(_key(config, base_dir))
        if known is None or known.fingerprint != fingerprint:
            known = _open(config, base_dir, config.source.identity(base_dir))
    if known.fingerprint != fingerprint:
        raise ConfigError(f"seed data ({config.source.seed_type}) changed since the run began; start a new build")
    return SeedReader(config, base_dir=base_dir, run_seed=run_seed, opened=known)


def _open(config: SeedConfig, base_dir: Path, identity: Hashable | None) -> _Opened:
    table = config.source.open(base_dir)
    fingerprint = table.fingerprint
    chosen = _chosen(config, table.num_rows)
    if config.sampling_strategy is SamplingStrategy.SHUFFLE and not table.random_access:
        # Shuffled rows come from everywhere: taken from their row groups, each would be decoded again and again.
        from prefect_datagen.seeds.spool import spool

        table, chosen = spool(_pieces(table, chosen), table.schema, fingerprint=fingerprint), range(len(chosen))
    opened = _Opened(identity, table, chosen.start, len(chosen), fingerprint)
    key = _key(config, base_dir)
    _opened[key] = opened
    _opened.move_to_end(key)
    while len(_opened) > _OPENED_KEPT:
        _opened.popitem(last=False)
    return opened


def _chosen(config: SeedConfig, size: int) -> range:
    """Those of the source's rows that the config takes."""
    if size == 0:
        raise ConfigError(f"seed source ({config.source.seed_type}) has no rows")
    return range(size) if config.selection_strategy is None else config.selection_strategy.rows(size)


def _pieces(table: SeedTable, chosen: range) -> Iterator[pa.Table]:
    from prefect_datagen.seeds.spool import PART_ROWS

    for start in range(chosen.start, chosen.stop, PART_ROWS):
        yield table.take(np.arange(start, min(start + PART_ROWS, chosen.stop), dtype=np.int64))


def _key(config: SeedConfig, base_dir: Path) -> tuple[str, str]:
    return config.model_dump_json(), str(base_dir.absolute())
