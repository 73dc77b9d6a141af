"""A sampler column ready to be drawn: conditions choose the plan, skip rules leave rows out, `convert_to` finishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_datagen.columns import compute as pc
from prefect_datagen.columns.base import TemplateSkip
from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.samplers.base import Kind, Plan, Rows, Target, kind_of, words_of
from prefect_datagen.columns.samplers.conditions import Condition
from prefect_datagen.columns.samplers.conversion import as_number, as_text
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import CellError, ConfigError, InternalError
from prefect_datagen.engine.randomness import RowStream
from prefect_datagen.engine.values import from_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of some rows, each part of shape `(n,)`.

    Attributes:
        value: what stands in the dataset.
        compared: what constraints, timedeltas and subcategories read: numbers and times before they became text.
        skipped: rows that were left out; None for no row.
    """

    value: pa.Array
    compared: pa.Array
    skipped: NDArray[np.bool_] | None = None

    @property
    def seen(self) -> pa.Array:
        """What conditions read: the dataset's value, but times as times."""
        return self.compared if kind_of(self.compared.type) is Kind.TIME else self.value

    def take(self, positions: NDArray[np.intp]) -> Cells:
        """The cells at these positions."""
        chosen = from_numpy(positions)
        value = self.value.take(chosen)
        compared = value if self.compared is self.value else self.compared.take(chosen)
        return Cells(value, compared, None if self.skipped is None else self.skipped[positions])

    def part(self, block: slice) -> Cells:
        """The cells of a block of rows; nothing is copied."""
        value = self.value[block]
        compared = value if self.compared is self.value else self.compared[block]
        return Cells(value, compared, None if self.skipped is None else self.skipped[block])

    @staticmethod
    def joined(parts: Sequence[Cells]) -> Cells:
        """The cells of all parts, one part after the other; all parts are of one column."""
        if len(parts) == 1:
            return parts[0]
        value = pa.concat_arrays([part.value for part in parts])
        same = all(part.compared is part.value for part in parts)
        compared = value if same else pa.concat_arrays([part.compared for part in parts])
        masks = [part.skipped for part in parts if part.skipped is not None]
        return Cells(value, compared, np.concatenate(masks) if masks else None)


View = Mapping[str, Cells]
"""Columns of the same rows, by name."""


class Column:
    """A sampler column, compiled. `inputs` are the columns that it reads, those of its skip rule included."""

    def __init__(self, config: SamplerColumnConfig, *, seed: int) -> None:
        self.name = config.name
        self._seed = seed
        self._type = config.types({})[0]
        self._convert_to = config.convert_to
        target = Target(config.name, seed, config.drawn_type(), config.convert_to)
        self._plans: list[Plan] = [params.plan(target) for _, params in config.branches()]  # the default comes first
        self._width = max(plan.width for plan in self._plans)
        self._conditions = [Condition(text) for text in config.conditional_params]
        self._parents = frozenset(
            reference.column for _, params in config.branches() for reference in params.references()
        )
        self._skip = TemplateSkip(config.skip) if config.skip else None
        # `pa.scalar` imports pandas, which a config without a skip rule need not wait for.
        self._skip_value = pa.scalar(config.skip.value, self._type) if config.skip else pa.nulls(1, self._type)[0]
        read = self._parents.union(*(condition.references for condition in self._conditions))
        self._contagious = read if config.propagate_skip else frozenset[str]()
        self.inputs: frozenset[str] = read.union(self._skip.inputs if self._skip else ())

    def draw(self, index: NDArray[np.int64], attempt: int, view: View) -> Cells:
        """The column of the rows with this index (ascending), at this attempt.

        Raises:
            ConfigError: a value of another column does not fit what this column does with it.
        """
        words = words_of(RowStream(self._seed, self.name, attempt), index, self._width)
        rows = Rows(index, words, {name: view[name].compared for name in self._parents})
        try:
            drawn = self._by_condition(rows, view) if self._conditions else self._plans[0].draw(rows)
            compared = as_number(drawn, self._convert_to)
        except pa.ArrowInvalid as error:
            raise ConfigError(
                f"column {self.name!r}: a drawn value is out of range: {error}", column=self.name
            ) from error
        value = as_text(compared, self._convert_to)
        if value.type != self._type:
            raise InternalError(f"column {self.name!r}: drew {value.type}, promised {self._type}", column=self.name)
        skipped = self._skipped(index, view)
        if skipped is None:
            return Cells(value, compared)
        left = pa.array(np.arange(len(index)), mask=skipped)
        if self._skip_value.is_valid:
            return Cells(pc.replace_with_mask(value, pa.array(skipped), self._skip_value), compared.take(left), skipped)
        return Cells(value.take(left), compared.take(left), skipped)

    def _by_condition(self, rows: Rows, view: View) -> pa.Array:
        """Each row by the params of the first condition that holds for it, else by the default."""
        choice = np.zeros(len(rows.index), dtype=np.intp)
        for number, condition in enumerate(self._conditions, start=1):
            seen = {name: view[name].seen for name in condition.references}
            choice[(choice == 0) & condition.holds(seen, len(choice))] = number
        used = np.unique(choice).tolist() or [0]
        if len(used) == 1:
            return self._plans[used[0]].draw(rows)
        positions = [np.flatnonzero(choice == number) for number in used]
        parts = [self._plans[number].draw(rows.at(where)) for number, where in zip(used, positions, strict=True)]
        return pa.concat_arrays(parts).take(from_numpy(np.argsort(np.concatenate(positions))))

    def _skipped(self, index: NDArray[np.int64], view: View) -> NDArray[np.bool_] | None:
        masks = [mask for name in self._contagious if (mask := view[name].skipped) is not None]
        if self._skip:
            masks.append(self._ruled_out(self._skip, index, view))
        return np.logical_or.reduce(masks) if masks else None

    def _ruled_out(self, rule: TemplateSkip, index: NDArray[np.int64], view: View) -> NDArray[np.bool_]:
        values = {name: view[name].value.to_pylist() for name in rule.inputs}
        applies = np.zeros(len(index), dtype=np.bool_)
        for position, row in enumerate(index.tolist()):
            try:
                applies[position] = rule.applies({name: column[position] for name, column in values.items()})
            except CellError as error:
                message = f"column {self.name!r}, row {row}: {error.message}"
                raise ConfigError(message, column=self.name, row=row) from error
        return applies
