"""Drawing all sampler columns of a config together: dependencies, conditions, skips and constraints.

Columns that constraints tie together, and all samplers that these read, form a *group*. A row of a group is drawn again
as a whole, attempt after attempt, until it satisfies the group's constraints: rejection sampling from the true joint
distribution (drawing one column after the other, each until it fits, would favour rows whose first column leaves the
second little room). Groups are independent of each other, and a column that only reads a group is drawn once, after it.

An attempt is part of the key of the random words, so the attempts of one row are a sequence of its own and the row
comes out the same in whatever block it is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from prefect_datagen.columns.base import TemplateSkip
from prefect_datagen.columns.constraints import Constraint
from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.sampler_checks import check_together
from prefect_datagen.columns.samplers.compiled import Cells, Column, View
from prefect_datagen.columns.samplers.groups import MAX_ATTEMPTS, GroupStatistics, grouped
from prefect_datagen.columns.samplers.identifiers import SHORT_FORMS, UUIDSamplerParams
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import ConfigError, InternalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 64_000
"""Rows drawn at a time. With fewer, threads hand the interpreter's lock to each other as long as they compute: four of them
took 88 ms for 250,000 rows of seven columns in blocks of 16,000, and 48 ms in these. More only take more memory."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Sampler columns of consecutive rows.

    Attributes:
        arrays: by column, each of shape `(rows,)` and of the type that the column's config promises.
        skipped: which rows a column's skip rules left out, shape `(rows,)`; columns without such rules are not in it.
    """

    arrays: dict[str, pa.Array]
    skipped: dict[str, NDArray[np.bool_]]


class SeedStageSampler:
    """Draws the sampler columns of a config, any block of rows at a time.

    Safe to use from several threads. Pickles as its arguments. `reads` are the columns that are no samplers and must be
    given to `sample`.

    Args:
        columns: all sampler columns of the config.
        constraints: all constraints of the config.
        seed: run seed.
        max_attempts: draws of one row, at most, to satisfy its constraints.

    Raises:
        ConfigError: a column or a constraint is wrong, columns read each other in a circle, or constraints are hopeless
            (unless they depend on given columns, which are not known yet).
    """

    def __init__(
        self,
        columns: Sequence[SamplerColumnConfig],
        constraints: Sequence[Constraint] = (),
        *,
        seed: int,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._configs, self._constraints, self._seed = tuple(columns), tuple(constraints), seed
        self._max_attempts = max_attempts
        problems = [
            f"columns.{config.name}.{field}: {message}" for config in columns for field, message in config.check()
        ]
        problems = problems or [f"{path}: {message}" for path, message in check_together(columns, constraints)]
        if problems:
            raise ConfigError("; ".join(problems), problems=problems)
        compiled = [Column(config, seed=seed) for config in _in_order(columns)]
        self._groups = grouped(compiled, constraints, max_attempts=max_attempts)
        in_groups = {column.name for group in self._groups for column in group.columns}
        self._free = [column for column in compiled if column.name not in in_groups]
        read = frozenset[str]().union(*(part.inputs for part in self._free), *(group.reads for group in self._groups))
        self.reads: frozenset[str] = read - {column.name for column in compiled}
        for group in self._groups:
            if not group.reads:
                group.probe()

    def sample(self, start: int, rows: int, given: Mapping[str, pa.Array]) -> Sampled:
        """All sampler columns of rows `start` to `start + rows`, in the order of the config.

        Args:
            start: index of the first row in the dataset.
            rows: number of rows.
            given: columns of these rows that samplers read, at least those in `reads`, each of shape `(rows,)`.

        Raises:
            ConfigError: a given column is missing or does not fit, or constraints cannot be satisfied.
        """
        view = {name: _given(name, given, rows) for name in sorted(self.reads)}
        for group in self._groups:
            view |= group.draw(start, rows, view)
        index = np.arange(start, start + rows, dtype=np.int64)
        for column in self._free:
            read = {name: view[name] for name in column.inputs}
            blocks = [slice(at, at + _AT_ONCE) for at in range(0, rows, _AT_ONCE)] or [slice(0)]
            parts = [column.draw(index[block], 0, _part(read, block)) for block in blocks]
            view[column.name] = Cells.joined(parts)
        cells = {config.name: view[config.name] for config in self._configs}
        return Sampled(
            {name: column.value for name, column in cells.items()},
            {name: column.skipped for name, column in cells.items() if column.skipped is not None},
        )

    def require_room(self, rows: int) -> None:
        """Refuse a dataset of so many rows if it needs more short identifiers than there are.

        Raises:
            ConfigError: a column's short form would repeat itself.
        """
        for config in self._configs:
            short = any(isinstance(one, UUIDSamplerParams) and one.short_form for _, one in config.branches())
            if short and rows > SHORT_FORMS:
                raise ConfigError(
                    f"columns.{config.name}.params.short_form: {rows:,} rows share {SHORT_FORMS:,} identifiers: "
                    "the probability that two rows get the same one is 1; leave short_form out",
                    column=config.name,
                )

    def statistics(self) -> tuple[GroupStatistics, ...]:
        """Draws and acceptance of each group of constrained columns so far."""
        return tuple(group.statistics() for group in self._groups)

    def acceptance(self) -> list[str]:
        """A line for each group of constrained columns: of its draws so far, or of the probe before the first."""
        lines = []
        for group in self._groups:
            drawn = group.statistics()
            told = drawn if drawn.drawn or group.probed is None else group.probed
            lines.append(str(told))
        return lines

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self._configs, self._constraints, self._seed, self._max_attempts)

    def __repr__(self) -> str:
        columns = [config.name for config in self._configs]
        return f"SeedStageSampler({columns}, {[str(one) for one in self._constraints]}, seed={self._seed})"


def _rebuilt(
    columns: Sequence[SamplerColumnConfig], constraints: Sequence[Constraint], seed: int, max_attempts: int
) -> SeedStageSampler:
    return SeedStageSampler(columns, constraints, seed=seed, max_attempts=max_attempts)


def _given(name: str, given: Mapping[str, pa.Array], rows: int) -> Cells:
    if name not in given:
        raise ConfigError(f"a sampler reads column {name!r}, which is neither a sampler nor seed data", column=name)
    array = given[name]
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if len(array) != rows:
        raise InternalError(f"column {name!r} was given with {len(array)} rows; {rows} are drawn", column=name)
    return Cells(array, array)


def _part(view: View, block: slice) -> View:
    return {name: cells.part(block) for name, cells in view.items()}


def _in_order(columns: Sequence[SamplerColumnConfig]) -> list[SamplerColumnConfig]:
    """Columns after those they read."""
    by_name = {config.name: config for config in columns}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for config in columns:
        read = {reference.column for reference in config.references()}
        read |= set(TemplateSkip(config.skip).inputs) if config.skip else set()
        sorter.add(config.name, *(name for name in sorted(read) if name in by_name))
    try:
        return [by_name[name] for name in sorter.static_order()]
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ConfigError(f"sampler columns read each other in a circle: {circle}") from error
