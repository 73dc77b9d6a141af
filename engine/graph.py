"""The column graph: who reads whom, in what order, and how far each column is from the end.

Built once per run from the nodes; everything in it is indexed by a node's position in `nodes`, which is a topological
order. Columns of the seed stage are *sources*: present before the engine starts, and no nodes.

A node that may change the number of rows (`allow_resize`) is a barrier: every node that is not among its ancestors runs
after it, so that when it runs, nothing else of its row group does, and positions can be dealt anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from prefect_datagen.engine.errors import ConfigError

if TYPE_CHECKING:
    from prefect_datagen.engine.node import ColumnNode


def find_cycle(inputs: Mapping[str, Iterable[str]]) -> list[str] | None:
    """A cycle among columns that name each other as inputs, or None.

    Returns:
        The columns in order (`a` reads `b` reads ... `a`), from the one that comes first in `inputs`, which closes it.
    """
    known = {name: [read for read in reads if read in inputs] for name, reads in inputs.items()}
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1][:0:-1]  # graphlib's order is the other way round, with the first one twice
        first = cycle.index(next(name for name in known if name in cycle))
        return [*cycle[first:], *cycle[: first + 1]]
    return None


@dataclass(frozen=True)
class ColumnGraph:
    """Nodes in topological order and the edges between them, as positions in `nodes`.

    Attributes:
        nodes: the nodes, every one after all that it waits for.
        sources: columns that are there before the engine starts.
        waits_for: for each node, the nodes that must be finished first (the inputs, and resize barriers).
        consumers: for each node, those that wait for it.
        skip_inputs: for each node, the inputs whose skipped cells make its own cells skipped (`propagate_skip`).
        skip_sources: for each node, the sources whose skipped cells do the same.
        remaining: for each node, the number of nodes on the longest path that starts with it.
        resources: every resource that cells of some node need.
    """

    nodes: tuple[ColumnNode, ...]
    sources: tuple[str, ...]
    waits_for: tuple[tuple[int, ...], ...]
    consumers: tuple[tuple[int, ...], ...]
    skip_inputs: tuple[frozenset[int], ...]
    skip_sources: tuple[tuple[str, ...], ...]
    remaining: tuple[int, ...]
    resources: tuple[str, ...]

    @classmethod
    def build(cls, nodes: Sequence[ColumnNode], *, sources: Sequence[str]) -> ColumnGraph:
        """Order the nodes (ties by declaration) and index their edges.

        Raises:
            ConfigError: a node reads a column that nobody makes, two nodes make the same one, a resizing node has a skip
                rule, or there is a cycle.
        """
        for node in nodes:
            if node.allow_resize and node.skip is not None:
                raise ConfigError(f"column {node.name!r} may change the number of rows, so its cells cannot be skipped")
        present = frozenset(sources)
        makers = _makers(nodes, present)
        waits = {node.name: _waits_for(node, makers, present) for node in nodes}
        cycle = find_cycle({name: sorted(reads) for name, reads in waits.items()})
        if cycle:
            raise ConfigError(f"columns depend on each other in a circle: {' → '.join(cycle)}")
        _add_barriers(nodes, waits)
        ordered = _ordered(nodes, waits)
        position = {node.name: index for index, node in enumerate(ordered)}
        waits_for = tuple(tuple(sorted(position[name] for name in waits[node.name])) for node in ordered)
        consumers: list[list[int]] = [[] for _ in ordered]
        for index, needed in enumerate(waits_for):
            for earlier in needed:
                consumers[earlier].append(index)
        remaining = [1] * len(ordered)
        for index in reversed(range(len(ordered))):
            remaining[index] = 1 + max((remaining[later] for later in consumers[index]), default=0)
        return cls(
            nodes=tuple(ordered),
            sources=tuple(sources),
            waits_for=waits_for,
            consumers=tuple(map(tuple, consumers)),
            skip_inputs=tuple(_skip_inputs(node, makers, position) for node in ordered),
            skip_sources=tuple(_skip_sources(node, present) for node in ordered),
            remaining=tuple(remaining),
            resources=tuple(sorted({node.resource for node in ordered})),
        )

    def describe(self) -> str:
        """One line per node: name, how it is filled, what it reads."""
        return "\n".join(
            f"{node.name}: {node.strategy.value} on {node.resource}, reads {', '.join(node.inputs) or 'nothing'}"
            for node in self.nodes
        )


def _makers(nodes: Sequence[ColumnNode], sources: frozenset[str]) -> dict[str, str]:
    makers: dict[str, str] = {}
    taken = set(sources)
    for node in nodes:
        for column in node.produces:
            if column in taken:
                raise ConfigError(f"column {column!r} is made twice (the second time by {node.name!r})")
            taken.add(column)
            makers[column] = node.name
    return makers


def _waits_for(node: ColumnNode, makers: dict[str, str], sources: frozenset[str]) -> set[str]:
    unknown = [column for column in node.needs if column not in makers and column not in sources]
    if unknown:
        raise ConfigError(f"column {node.name!r} reads {unknown[0]!r}, which is not defined")
    return {makers[column] for column in node.needs if column in makers}


def _add_barriers(nodes: Sequence[ColumnNode], waits: dict[str, set[str]]) -> None:
    """Let every node that is no ancestor of a resizing one wait for it; `waits` is extended in place.

    Of two resizing nodes that do not know each other, the one declared first comes first.
    """
    for resizing in [node.name for node in nodes if node.allow_resize]:
        before = _ancestors(resizing, waits) | {resizing}
        for node in nodes:
            if node.name not in before:
                waits[node.name].add(resizing)


def _ordered(nodes: Sequence[ColumnNode], waits: Mapping[str, set[str]]) -> list[ColumnNode]:
    """Kahn's algorithm that always takes the first declared node among those that are free."""
    declared = {node.name: at for at, node in enumerate(nodes)}
    readers: list[list[int]] = [[] for _ in nodes]
    for at, node in enumerate(nodes):
        for wait in waits[node.name]:
            readers[declared[wait]].append(at)
    unfinished = [len(waits[node.name]) for node in nodes]
    free = [at for at, count in enumerate(unfinished) if count == 0]
    ordered: list[ColumnNode] = []
    while free:
        at = heappop(free)
        ordered.append(nodes[at])
        for reader in readers[at]:
            unfinished[reader] -= 1
            if unfinished[reader] == 0:
                heappush(free, reader)
    return ordered


def _ancestors(name: str, waits: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(waits[name])
    while todo:
        earlier = todo.pop()
        if earlier not in found:
            found.add(earlier)
            todo.extend(waits[earlier])
    return found


def _skip_inputs(node: ColumnNode, makers: dict[str, str], position: dict[str, int]) -> frozenset[int]:
    if not node.propagate_skip or node.allow_resize:  # a resizing function sees every row of its row group
        return frozenset()
    return frozenset(position[makers[column]] for column in node.inputs if column in makers)


def _skip_sources(node: ColumnNode, sources: frozenset[str]) -> tuple[str, ...]:
    if not node.propagate_skip or node.allow_resize:
        return ()
    return tuple(column for column in node.inputs if column in sources)
