from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.graph import ColumnGraph, find_cycle
from prefect_datagen.engine.node import LOOP, THREADS, ColumnNode
from tests.engine.graphs import SOURCES, SkipReading, full, node, node_lists


def names(graph: ColumnGraph) -> list[str]:
    return [each.name for each in graph.nodes]


def edges(graph: ColumnGraph) -> dict[str, list[str]]:
    """For each node the names of those it waits for."""
    return {
        each.name: [graph.nodes[wait].name for wait in waits]
        for each, waits in zip(graph.nodes, graph.waits_for, strict=True)
    }


def makers(nodes: list[ColumnNode]) -> dict[str, str]:
    return {column: each.name for each in nodes for column in each.produces}


# --- order -----------------------------------------------------------------------------------------------------------


def test_nodes_keep_the_order_of_declaration_where_nothing_forbids_it() -> None:
    graph = ColumnGraph.build([node("z"), node("a"), node("m", "a"), node("b")], sources=())
    assert names(graph) == ["z", "a", "m", "b"]


def test_a_node_comes_after_its_inputs_and_otherwise_as_early_as_declared() -> None:
    graph = ColumnGraph.build([node("late", "c"), node("b"), node("c", "b"), node("d")], sources=())
    assert names(graph) == ["b", "c", "late", "d"]


def test_sources_and_side_columns_are_read_like_any_column() -> None:
    graph = ColumnGraph.build(
        [node("b", "s0", "a__trace"), node("a", "s1", side_columns=["a__trace"])], sources=SOURCES
    )
    assert edges(graph) == {"a": [], "b": ["a"]}
    assert graph.sources == SOURCES


def test_two_columns_of_one_node_are_one_edge() -> None:
    graph = ColumnGraph.build([node("a", side_columns=["a__score"]), node("b", "a", "a__score")], sources=())
    assert graph.waits_for == ((), (0,))
    assert graph.consumers == ((1,), ())


def test_a_column_that_only_the_skip_rule_reads_is_waited_for() -> None:
    graph = ColumnGraph.build([node("b", skip_reads=["a"]), node("a")], sources=())
    assert edges(graph) == {"a": [], "b": ["a"]}


def test_a_graph_without_nodes() -> None:
    graph = ColumnGraph.build([], sources=SOURCES)
    assert (graph.nodes, graph.waits_for, graph.resources) == ((), (), ())


def test_a_chain_of_a_thousand_columns_declared_backwards() -> None:
    nodes = [node(f"c{at}", *([f"c{at - 1}"] if at else [])) for at in range(1000)]
    graph = ColumnGraph.build(nodes[::-1], sources=())
    assert names(graph) == [f"c{at}" for at in range(1000)]
    assert graph.remaining == tuple(range(1000, 0, -1))


@given(node_lists())
def test_order_is_topological_with_ties_by_declaration(nodes: list[ColumnNode]) -> None:
    """Each place is taken by the first declared node whose inputs stand before it."""
    graph = ColumnGraph.build(nodes, sources=SOURCES)
    left = [each.name for each in nodes]
    waits = edges(graph)
    for name in names(graph):
        free = [each for each in left if not set(waits[each]) & set(left)]
        assert name == free[0]
        left.remove(name)
    assert left == []


@given(node_lists())
def test_edges_are_the_columns_read_and_consumers_are_the_edges_turned_round(nodes: list[ColumnNode]) -> None:
    graph = ColumnGraph.build(nodes, sources=SOURCES)
    made_by = makers(nodes)
    waits = edges(graph)
    resizing = {each.name for each in nodes if each.allow_resize}
    for each in nodes:
        reads = {made_by[column] for column in each.needs if column in made_by}
        assert reads <= set(waits[each.name]) <= reads | resizing
    turned = {(early, late) for late, early_ones in enumerate(graph.waits_for) for early in early_ones}
    assert {(early, late) for early, late_ones in enumerate(graph.consumers) for late in late_ones} == turned


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_cycle_is_named_in_order_from_the_column_declared_first() -> None:
    nodes = [node("x"), node("a", "b"), node("b", "c", "x"), node("c", "a")]
    with pytest.raises(ConfigError, match=r"in a circle: a → b → c → a$"):
        ColumnGraph.build(nodes, sources=())


def test_two_columns_that_read_each_other() -> None:
    with pytest.raises(ConfigError, match=r": a → b → a$"):
        ColumnGraph.build([node("a", "b"), node("b", "a")], sources=())


def test_a_column_that_reads_itself() -> None:
    with pytest.raises(ConfigError, match=r": a → a$"):
        ColumnGraph.build([node("a", "a")], sources=())


def test_a_skip_rule_can_close_a_circle() -> None:
    with pytest.raises(ConfigError, match=r": a → b → a$"):
        ColumnGraph.build([node("a", skip_reads=["b"]), node("b", "a")], sources=())


@pytest.mark.parametrize("nodes", [[node("a"), node("a")], [node("a"), node("b", side_columns=["a"])]])
def test_a_column_made_twice_is_refused(nodes: list[ColumnNode]) -> None:
    with pytest.raises(ConfigError, match=f"column 'a' is made twice .*{nodes[1].name!r}"):
        ColumnGraph.build(nodes, sources=())


def test_a_column_that_is_a_source_and_made_is_refused() -> None:
    with pytest.raises(ConfigError, match="column 's0' is made twice"):
        ColumnGraph.build([node("s0")], sources=SOURCES)


@pytest.mark.parametrize("reader", [node("b", "nowhere"), node("b", skip_reads=["nowhere"])])
def test_an_unknown_input_is_refused(reader: ColumnNode) -> None:
    with pytest.raises(ConfigError, match="column 'b' reads 'nowhere', which is not defined"):
        ColumnGraph.build([node("a"), reader], sources=SOURCES)


def test_find_cycle_ignores_columns_that_are_not_in_the_graph() -> None:
    assert find_cycle({"a": ["somewhere"], "b": ["a"]}) is None


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=3), max_size=6))
def test_a_cycle_found_is_a_cycle_and_none_found_means_there_is_an_order(inputs: dict[str, list[str]]) -> None:
    cycle = find_cycle(inputs)
    if cycle is not None:
        assert cycle[0] == cycle[-1] == min(cycle, key=list(inputs).index)
        assert len(set(cycle)) == len(cycle) - 1
        assert all(later in inputs[reader] for reader, later in itertools.pairwise(cycle))
        return
    left = dict(inputs)
    while left:
        free = [name for name, reads in left.items() if not set(reads) & set(left)]
        assert free
        left = {name: reads for name, reads in left.items() if name not in free}


# --- resize ----------------------------------------------------------------------------------------------------------


def test_what_is_no_ancestor_of_a_resizing_column_runs_after_it() -> None:
    nodes = [node("free"), node("a"), full("resize", "a", allow_resize=True), node("after", "resize"), node("b", "a")]
    graph = ColumnGraph.build(nodes, sources=())
    assert edges(graph) == {"a": [], "resize": ["a"], "free": ["resize"], "after": ["resize"], "b": ["a", "resize"]}
    assert names(graph) == ["a", "resize", "free", "after", "b"]


def test_two_resizing_columns_run_one_after_the_other() -> None:
    nodes = [full("second", "a", allow_resize=True), node("a", "first"), full("first", allow_resize=True), node("b")]
    graph = ColumnGraph.build(nodes, sources=())
    assert edges(graph) == {"first": [], "a": ["first"], "second": ["first", "a"], "b": ["first", "second"]}


def test_of_two_resizing_columns_that_do_not_know_each_other_the_first_declared_comes_first() -> None:
    graph = ColumnGraph.build([full("x", allow_resize=True), full("y", allow_resize=True)], sources=())
    assert edges(graph) == {"x": [], "y": ["x"]}


@given(node_lists())
def test_while_a_column_resizes_no_other_can_run(nodes: list[ColumnNode]) -> None:
    """Every other node is an ancestor, finished before, or waits for it."""
    graph = ColumnGraph.build(nodes, sources=SOURCES)
    waits = edges(graph)
    for resizing in (each.name for each in nodes if each.allow_resize):
        ancestors = set(waits[resizing])
        for name in reversed(names(graph)):
            if name in ancestors:
                ancestors |= set(waits[name])
        assert all(name in ancestors or resizing in waits[name] for name in names(graph) if name != resizing)


# --- what the scheduler asks for -------------------------------------------------------------------------------------


def test_remaining_counts_the_nodes_of_the_longest_path_to_an_end() -> None:
    nodes = [node("a"), node("b", "a"), node("c", "b"), node("d", "a"), node("e", "c", "d"), node("lone")]
    graph = ColumnGraph.build(nodes, sources=())
    assert dict(zip(names(graph), graph.remaining, strict=True)) == {
        "a": 4, "b": 3, "c": 2, "d": 2, "e": 1, "lone": 1,
    }  # fmt: skip


def test_a_skipped_input_counts_where_it_propagates_and_the_generator_reads_it() -> None:
    nodes = [
        node("a", side_columns=["a__side"]),
        node("b", "a__side", "s0"),
        node("deaf", "a", "s0", propagate_skip=False),
        node("by_rule", skip_reads=["a", "s0"]),
        full("resize", "a", "s0", allow_resize=True),
    ]
    graph = ColumnGraph.build(nodes, sources=SOURCES)
    a = names(graph).index("a")
    by_name = dict(zip(names(graph), zip(graph.skip_inputs, graph.skip_sources, strict=True), strict=True))
    assert by_name == {
        "a": (frozenset(), ()),
        "b": (frozenset({a}), ("s0",)),
        "deaf": (frozenset(), ()),
        "by_rule": (frozenset(), ()),
        "resize": (frozenset(), ()),
    }


def test_resources_are_named_once_and_sorted() -> None:
    nodes = [node("a", resource="small"), node("b", resource=LOOP), node("c", resource="small"), full("d")]
    assert ColumnGraph.build(nodes, sources=()).resources == (LOOP, THREADS, "small")


def test_describe_says_how_each_column_is_filled() -> None:
    graph = ColumnGraph.build([node("b", "a", "s0"), full("a")], sources=SOURCES)
    assert graph.describe() == "a: full_column on (threads), reads nothing\nb: cell_by_cell on large, reads a, s0"


def test_a_column_that_resizes_cannot_skip() -> None:
    skipping = replace(node("w", allow_resize=True), skip=SkipReading(("a",)))
    with pytest.raises(ConfigError, match="column 'w' may change the number of rows"):
        ColumnGraph.build([node("a"), skipping], sources=())
