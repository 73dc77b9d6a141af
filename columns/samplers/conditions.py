"""Conditions of `conditional_params`: Python-like expressions over other columns, evaluated for all rows at once.

`tier == 'gold' and (age > 30 or not member)`, `state in ['NY', 'CA']`, `person.age >= 18`, `price * 1.2 < budget`.

The text is parsed with `ast` and only the node types named here are walked, so nothing can be called or reached. Names
are columns; `true`, `false` and `none` may be written small, as in Jinja2. A comparison with a missing value is false,
`!=` apart. Times compare with ISO 8601 text. A comparison of unlike kinds (a number with text) could never hold and is
an error, not false.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

from prefect_datagen.columns import compute as pc
from prefect_datagen.columns.samplers.base import Kind, kind_of, parse_time, time_type
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Columns = Mapping[str, pa.Array]

_MAX_DEPTH = 50
_NAMED = {"true": True, "false": False, "none": None}

_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("equal", operator.eq),
    ast.NotEq: ("not_equal", operator.ne),
    ast.Lt: ("less", operator.lt),
    ast.LtE: ("less_equal", operator.le),
    ast.Gt: ("greater", operator.gt),
    ast.GtE: ("greater_equal", operator.ge),
}


def _remainder(left: Any, right: Any) -> Any:
    return pc.subtract(left, pc.multiply(pc.floor(pc.divide(left, right)), right))


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda left, right: pc.add_checked(left, right),
    ast.Sub: lambda left, right: pc.subtract_checked(left, right),
    ast.Mult: lambda left, right: pc.multiply_checked(left, right),
    ast.Div: lambda left, right: pc.divide(left, right),
    ast.FloorDiv: lambda left, right: pc.floor(pc.divide(left, right)),
    ast.Mod: _remainder,
}

_LEAVES: tuple[type[ast.AST], ...] = (ast.Name, ast.Constant, ast.Load)
_BRANCHES: tuple[type[ast.AST], ...] = (
    ast.BoolOp,
    ast.UnaryOp,
    ast.Compare,
    ast.BinOp,
    ast.List,
    ast.Tuple,
    ast.Attribute,
    ast.Subscript,
)
_OPERATORS: tuple[type[ast.AST], ...] = (
    *(ast.And, ast.Or, ast.Not, ast.USub, ast.UAdd, ast.In, ast.NotIn, ast.Is, ast.IsNot),
    *_COMPARISONS,
    *_ARITHMETIC,
)


class Condition:
    """A condition, ready to be asked of rows. `references` are the columns it reads, sorted.

    Raises:
        ConfigError: the text does not parse, or holds what conditions do not have.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._root = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            cause = error.msg if isinstance(error, SyntaxError) else str(error)
            raise ConfigError(f"condition {text!r} does not parse: {cause}") from error
        self._refuse_others(self._root, depth=0)
        names = {node.id for node in ast.walk(self._root) if isinstance(node, ast.Name)}
        self.references = tuple(sorted(names - set(_NAMED)))

    def holds(self, columns: _Columns, rows: int) -> NDArray[np.bool_]:
        """For which rows it holds, shape `(rows,)`; `columns` has those in `references`, each of shape `(rows,)`.

        Raises:
            ConfigError: it compares or computes with values that do not go together.
        """
        try:
            result = self._truth(self._root, columns)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:
            raise ConfigError(f"condition {self.text!r} cannot be evaluated: {error}") from error
        if isinstance(result, bool):
            return np.full(rows, result)
        return np.asarray(result.to_numpy(zero_copy_only=False), dtype=np.bool_)

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"

    def _refuse_others(self, node: ast.AST, *, depth: int) -> None:
        if not isinstance(node, _LEAVES + _BRANCHES + _OPERATORS):
            raise ConfigError(
                f"condition {self.text!r}: {type(node).__name__} is not allowed; "
                "there are comparisons, and, or, not, in, + - * / // %, constants and column names"
            )
        if depth > _MAX_DEPTH:
            raise ConfigError(f"condition {self.text!r} is nested deeper than {_MAX_DEPTH} levels")
        for child in ast.iter_child_nodes(node):
            self._refuse_others(child, depth=depth + 1)

    def _error(self, node: ast.expr, problem: str) -> ConfigError:
        return ConfigError(f"condition {self.text!r}: {ast.unparse(node)!r} {problem}")

    # What follows returns an Arrow array where a column is involved, else a Python value.

    def _truth(self, node: ast.expr, columns: _Columns) -> Any:
        """Truth values without nulls, as Python has them: 0, '' and what is missing are false."""
        value = self._value(node, columns)
        if not isinstance(value, pa.Array):
            return bool(value)
        kind = kind_of(value.type)
        if kind is Kind.NUMBER:
            value = pc.not_equal(value, pa.scalar(0, value.type))
        elif kind is Kind.TEXT:
            value = pc.not_equal(value, pa.scalar("", value.type))
        elif kind is not Kind.TRUTH:
            value = value.is_valid()
        return value.fill_null(False)

    def _value(self, node: ast.expr, columns: _Columns) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return _NAMED[name] if name in _NAMED else _decoded(columns[name])
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._value(item, columns) for item in items]
            case ast.Attribute(value=record, attr=field):
                return self._field(node, self._value(record, columns), field)
            case ast.Subscript(value=record, slice=ast.Constant(value=str(field))):
                return self._field(node, self._value(record, columns), field)
            case ast.BoolOp(op=ast.And(), values=parts):
                return reduce(_both, [self._truth(part, columns) for part in parts])
            case ast.BoolOp(values=parts):
                return reduce(_either, [self._truth(part, columns) for part in parts])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _opposite(self._truth(operand, columns))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._computed(node, ast.Sub, 0, self._value(operand, columns))
            case ast.UnaryOp(operand=operand):
                return self._computed(node, ast.Add, 0, self._value(operand, columns))
            case ast.BinOp(left=left, op=op, right=right):
                return self._computed(node, type(op), self._value(left, columns), self._value(right, columns))
            case ast.Compare(left=left, ops=ops, comparators=others):
                values = [self._value(part, columns) for part in (left, *others)]
                results = [self._compared(node, type(op), *values[i : i + 2]) for i, op in enumerate(ops)]
                return reduce(_both, results)
        raise self._error(node, "is not allowed: only a field's name in quotes can stand in [ ]")

    def _field(self, node: ast.expr, record: Any, field: str) -> Any:
        if not isinstance(record, pa.Array) or not pa.types.is_struct(record.type):
            raise self._error(node, "asks for a field of what has no fields")
        if record.type.get_field_index(field) < 0:
            names = ", ".join(part.name for part in record.type)
            raise self._error(node, f"asks for a field that is not there; there are {names}")
        return _decoded(pc.struct_field(record, field))

    def _computed(self, node: ast.expr, op: type[ast.operator], left: Any, right: Any) -> Any:
        for value in (left, right):
            if _kind(value) is not Kind.NUMBER:
                raise self._error(node, f"computes with a {_kind(value) or 'missing value'}; only numbers can be")
        exact = op in (ast.Add, ast.Sub, ast.Mult)
        result = _ARITHMETIC[op](_operand(left, exact=exact), _operand(right, exact=exact))
        return result.as_py() if isinstance(result, pa.Scalar) else result

    def _compared(self, node: ast.expr, op: type[ast.cmpop], left: Any, right: Any) -> Any:
        if op in (ast.NotIn, ast.IsNot):
            return _opposite(self._compared(node, ast.In if op is ast.NotIn else ast.Is, left, right))
        if op is ast.In:
            return self._contained(node, left, right)
        if op is ast.Is and right is not None:
            raise self._error(node, "compares identity; `is` can only ask for None")
        if right is None or left is None:
            missing = _missing(left if right is None else right)
            return _opposite(missing) if op is ast.NotEq else missing
        left, right = self._alike(node, left, right)
        for_arrays, for_constants = _COMPARISONS[op]
        if not isinstance(left, pa.Array) and not isinstance(right, pa.Array):
            return for_constants(left, right)
        operands = (value if isinstance(value, (pa.Array, pa.Scalar)) else pa.scalar(value) for value in (left, right))
        return getattr(pc, for_arrays)(*operands).fill_null(op is ast.NotEq)

    def _contained(self, node: ast.expr, item: Any, container: Any) -> Any:
        if isinstance(container, list):
            found = [self._compared(node, ast.Eq, item, other) for other in container]
            return reduce(_either, found, False)
        if isinstance(item, str) and _kind(container) is Kind.TEXT:
            if isinstance(container, str):
                return item in container
            return pc.match_substring(container, item).fill_null(False)
        raise self._error(node, "looks into what is neither a list nor text")

    def _alike(self, node: ast.expr, left: Any, right: Any) -> tuple[Any, Any]:
        """Both sides so that Arrow can compare them."""
        kinds = {_kind(left), _kind(right)}
        if kinds == {Kind.TRUTH, Kind.NUMBER}:
            return _as_number(left), _as_number(right)
        if kinds == {Kind.TIME, Kind.TEXT}:
            return self._time(node, left), self._time(node, right)
        if len(kinds) > 1 or kinds == {Kind.RECORD}:
            raise self._error(node, f"compares a {_kind(left)} with a {_kind(right)}, which never holds")
        if kinds == {Kind.TIME}:
            return left.cast(time_type(), safe=False), right.cast(time_type(), safe=False)
        return left, right

    def _time(self, node: ast.expr, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return pa.scalar(parse_time(value), time_type())
            except ValueError as error:
                raise self._error(node, f"compares a time with text: {error}") from error
        if _kind(value) is Kind.TEXT:
            raise self._error(node, "compares a column of times with a column of text")
        return value.cast(time_type(), safe=False)


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _kind(value: Any) -> Kind | None:
    """Kind of an array or a constant; None for a missing constant."""
    if isinstance(value, pa.Array):
        return kind_of(value.type)
    if value is None:
        return None
    if isinstance(value, bool):
        return Kind.TRUTH
    if isinstance(value, (int, float)):
        return Kind.NUMBER
    return Kind.TEXT if isinstance(value, str) else Kind.RECORD


def _operand(value: Any, *, exact: bool) -> Any:
    """A number for Arrow: as it is where integers stay integers, else as a float."""
    if isinstance(value, pa.Array):
        return value if exact else value.cast(pa.float64())
    return pa.scalar(value if exact else float(value))


def _as_number(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, pa.Array) and pa.types.is_boolean(value.type):
        return value.cast(pa.int8())
    return value


def _missing(value: Any) -> Any:
    return value.is_null() if isinstance(value, pa.Array) else value is None


def _opposite(value: Any) -> Any:
    return pc.invert(value) if isinstance(value, pa.Array) else not value


def _both(left: Any, right: Any) -> Any:
    if isinstance(left, bool) and isinstance(right, bool):
        return left and right
    return pc.and_(left, right)


def _either(left: Any, right: Any) -> Any:
    if isinstance(left, bool) and isinstance(right, bool):
        return left or right
    return pc.or_(left, right)
