"""Simple templates for a whole column at once, by Arrow's kernels: the same text as Jinja2's, at a twentieth of the CPU.

Simple is text with `{{ name }}` of text and whole numbers, and `{% if name %}`, `{% if not name %}` of truth values,
numbers (true where not 0) and text (true where not empty). A template with anything else in it is rendered by Jinja2, and
so are columns with nulls, which are `None` in a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from jinja2 import nodes

from prefect_datagen.columns import compute as pc
from prefect_datagen.columns.template import MAX_OUTPUT, Template
from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.values import number_array, text_scalar

if TYPE_CHECKING:
    _Columns = Mapping[str, pa.Array]
    _Text = Callable[[_Columns], pa.Array | pa.Scalar]


class _NotSimpleError(Exception):
    """Jinja2 is needed."""


class ColumnTemplate:
    """A simple template. `of` gives None for any other."""

    def __init__(self, text: _Text, types: Mapping[str, pa.DataType]) -> None:
        self._text = text
        self._types = types

    @classmethod
    def of(cls, template: Template, types: Mapping[str, pa.DataType]) -> ColumnTemplate | None:
        """The template over columns of these types, where it is simple and reads any of them."""
        read = {name: types[name] for name in template.references if name in types}
        if not read:
            return None
        try:
            return cls(_sequence(template.tree().body, read), read)
        except _NotSimpleError:
            return None

    def render(self, columns: Mapping[str, pa.Array]) -> pa.Array | None:
        """The text of each row, string, shape `(rows,)`; None where it takes Jinja2 to say what a row's text is."""
        read = {name: columns[name] for name in self._types}
        if any(column.null_count or column.type != self._types[name] for name, column in read.items()):
            return None
        try:
            texts = self._text(read)
        except pa.ArrowException:  # more text than one array holds
            return None
        if isinstance(texts, pa.Scalar):
            return None
        return texts if _longest(texts) <= MAX_OUTPUT else None


def _longest(texts: pa.Array) -> int:
    """Characters of the longest text, or a number of bytes that is no less and within the limit: bytes need no decoding."""
    in_bytes: int = pc.max(pc.binary_length(texts)).as_py() or 0
    return in_bytes if in_bytes <= MAX_OUTPUT else pc.max(pc.utf8_length(texts)).as_py()


def _sequence(body: Sequence[nodes.Node], types: Mapping[str, pa.DataType]) -> _Text:
    """Nodes one after the other, as one text."""
    parts: list[_Text] = []
    for node in body:
        if isinstance(node, nodes.Output):
            parts += [_piece(piece, types) for piece in node.nodes]
        elif isinstance(node, nodes.If):
            parts.append(_choice(node, types))
        else:
            raise _NotSimpleError
    if not parts:
        return _literal("")
    if len(parts) == 1:
        return parts[0]
    between = text_scalar("")
    return lambda columns: pc.binary_join_element_wise(*(part(columns) for part in parts), between)


def _piece(node: nodes.Node, types: Mapping[str, pa.DataType]) -> _Text:
    if isinstance(node, nodes.TemplateData):
        return _literal(node.data)
    if isinstance(node, nodes.Name) and node.name in types:
        name, type_ = node.name, types[node.name]
        if pa.types.is_string(type_):
            return lambda columns: columns[name]
        if pa.types.is_integer(type_):
            return lambda columns: columns[name].cast(pa.string())
    raise _NotSimpleError


def _choice(node: nodes.If, types: Mapping[str, pa.DataType]) -> _Text:
    """`{% if name %}…{% elif other %}…{% else %}…{% endif %}`."""
    test, turned = node.test, isinstance(node.test, nodes.Not)
    if isinstance(test, nodes.Not):
        test = test.node
    if not (isinstance(test, nodes.Name) and test.name in types):
        raise _NotSimpleError
    holds, then = _truth(test.name, types[test.name]), _sequence(node.body, types)
    otherwise = _choice(_without_first_elif(node), types) if node.elif_ else _sequence(node.else_, types)
    if turned:
        then, otherwise = otherwise, then
    return lambda columns: pc.if_else(holds(columns), then(columns), otherwise(columns))


def _truth(name: str, type_: pa.DataType) -> Callable[[_Columns], pa.Array]:
    """Which rows' values are true, as Python has it: NaN is."""
    if pa.types.is_boolean(type_):
        return lambda columns: columns[name]
    if pa.types.is_integer(type_) or pa.types.is_float32(type_) or pa.types.is_float64(type_):
        nothing = pc.cast(number_array([0], pa.int64()), type_)[0]
        return lambda columns: pc.not_equal(columns[name], nothing)
    if pa.types.is_string(type_):
        empty = text_scalar("")
        return lambda columns: pc.not_equal(columns[name], empty)
    raise _NotSimpleError


def _without_first_elif(node: nodes.If) -> nodes.If:
    first, *rest = node.elif_
    return nodes.If(first.test, first.body, rest, node.else_)


def _literal(text: str) -> _Text:
    scalar = text_scalar(text)
    return lambda columns: scalar
