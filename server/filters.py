"""The filter language of `/api/rows`: small, typed, and never SQL until every name and value was checked.

    filter      = and {"or" and}
    and         = not {"and" not}
    not         = "not" not | "(" filter ")" | comparison
    comparison  = column ("=" | "!=" | "<" | "<=" | ">" | ">=") value
                | column ["not"] "in" "(" value {"," value} ")"
                | column ("contains" | "starts with" | "ends with") text
                | column "is" ["not"] ("null" | "nan")
    column      = a name, or any text between back quotes
    value       = text between single or double quotes (a quote inside is written twice), a number, true, false

Examples: `age >= 30 and city in ('Oslo', 'Rome')`, ``not (`my column` is null)``, `note contains "50 %"`.

A value must be of the column's type: text is compared with quoted text, numbers with numbers; dates and times are
written as quoted text. What comes out is SQL in which names are quoted columns of the table and values are parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.server.source import sql_name

MAX_LENGTH = 4_000
MAX_DEPTH = 32

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | (?P<quoted>`(?:[^`]|``)+`)
      | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<word>[^\W\d]\w*)
      | (?P<symbol><=|>=|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_COMPARISONS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class FilterError(ConfigError):
    """A filter or a sort order cannot be understood. Its message may be shown to the client."""


class ValueKind(StrEnum):
    """What a column can be compared with."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "time"
    OTHER = "other"


def kind_of(column_type: str) -> ValueKind:
    """The kind of a DuckDB type."""
    base = column_type.partition("(")[0].upper()
    if column_type.endswith("]") or base in {"STRUCT", "MAP", "UNION", "BLOB", "JSON", "VARIANT"}:
        return ValueKind.OTHER
    if base in {"VARCHAR", "ENUM", "UUID"}:
        return ValueKind.TEXT
    if base == "BOOLEAN":
        return ValueKind.BOOLEAN
    if base.endswith("INT") or base in {"INTEGER", "FLOAT", "DOUBLE", "DECIMAL"}:
        return ValueKind.NUMBER
    if base in {"DATE", "TIME", "INTERVAL"} or base.startswith(("TIMESTAMP", "TIME ")):
        return ValueKind.TIME
    return ValueKind.OTHER


@dataclass
class Condition:
    """An SQL condition and the values of its parameters, by name."""

    sql: str = "TRUE"
    parameters: dict[str, Any] = field(default_factory=dict)


def parse_filter(text: str, columns: Mapping[str, str]) -> Condition:
    """The SQL condition that a filter means.

    Args:
        text: see the grammar above; blank means all rows.
        columns: DuckDB type by column name: what may be asked for.

    Raises:
        FilterError: says where and why the text is no filter of this table.
    """
    if len(text) > MAX_LENGTH:
        raise FilterError(f"the filter has {len(text):,} characters; {MAX_LENGTH:,} is the limit")
    if not text.strip():
        return Condition()
    parser = _Parser(text, columns)
    sql = parser.alternatives(0)
    parser.expect_end()
    return Condition(sql, parser.parameters)


def parse_sort(text: str, columns: Mapping[str, str]) -> list[str]:
    """SQL sort terms of `name`, `-name`, separated by commas; nulls last, so that both ways show values first.

    Raises:
        FilterError: a name is no column, or the column has no order.
    """
    terms = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        # A column may itself be called "-x": the exact name goes first.
        descending = name not in columns and name.startswith("-")
        column = name[1:] if descending else name
        _check_column(column, columns)
        terms.append(f"{sql_name(column)} {'DESC' if descending else 'ASC'} NULLS LAST")
    return terms


def _check_column(name: str, columns: Mapping[str, str]) -> None:
    if name not in columns:
        raise FilterError(f"there is no column {name!r}; there are {', '.join(map(repr, columns)) or 'none'}")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


class _Parser:
    """Recursive descent; each method reads one rule of the grammar and returns its SQL."""

    def __init__(self, text: str, columns: Mapping[str, str]) -> None:
        self._columns = columns
        self._tokens = _tokens(text)
        self._at = 0
        self.parameters: dict[str, Any] = {}

    def alternatives(self, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise FilterError(f"the filter nests more than {MAX_DEPTH} levels deep")
        return self._joined("or", lambda: self._joined("and", lambda: self._negation(depth)))

    def expect_end(self) -> None:
        if self._peek().kind != "end":
            raise self._unexpected("'and', 'or' or the end")

    def _joined(self, word: str, operand: Callable[[], str]) -> str:
        parts = [operand()]
        while self._take(word):
            parts.append(operand())
        return f"({f' {word.upper()} '.join(parts)})" if len(parts) > 1 else parts[0]

    def _negation(self, depth: int) -> str:
        if self._take("not"):
            if depth > MAX_DEPTH:
                raise FilterError(f"the filter nests more than {MAX_DEPTH} levels deep")
            return f"(NOT {self._negation(depth + 1)})"
        if self._take("("):
            inner = self.alternatives(depth + 1)
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> str:
        column = self._column()
        name = sql_name(column)
        if self._take("is"):
            return self._is(column)
        negated = self._take("not")
        if self._take("in"):
            self._expect("(")
            values = [self._value(column)]
            while self._take(","):
                values.append(self._value(column))
            self._expect(")")
            return f"({name} {'NOT ' if negated else ''}IN ({', '.join(values)}))"
        if negated:
            raise self._unexpected("'in'")
        for words, function in (("contains", "contains"), ("starts", "starts_with"), ("ends", "ends_with")):
            if self._take(words):
                if words != "contains":
                    self._expect("with")
                return self._text_search(column, function)
        symbol = self._peek()
        if symbol.text not in _COMPARISONS or symbol.kind != "symbol":
            raise self._unexpected("a comparison")
        self._at += 1
        return f"({name} {_COMPARISONS[symbol.text]} {self._value(column)})"

    def _is(self, column: str) -> str:
        negated = "NOT " if self._take("not") else ""
        if self._take("null"):
            return f"({sql_name(column)} IS {negated}NULL)"
        if self._take("nan"):
            if self._columns[column] not in {"FLOAT", "DOUBLE"}:
                raise FilterError(f"column {column!r} holds no floating-point numbers, so none is NaN")
            return f"({negated}isnan({sql_name(column)}))"
        raise self._unexpected("'null' or 'nan'")

    def _text_search(self, column: str, function: str) -> str:
        if kind_of(self._columns[column]) is not ValueKind.TEXT:
            raise FilterError(f"column {column!r} is {self._columns[column]}; only text can be searched")
        return f"{function}(CAST({sql_name(column)} AS VARCHAR), {self._value(column)})"

    def _column(self) -> str:
        token = self._peek()
        if token.kind not in {"word", "quoted"}:
            raise self._unexpected("a column")
        name = token.text[1:-1].replace("``", "`") if token.kind == "quoted" else token.text
        _check_column(name, self._columns)
        self._at += 1
        return name

    def _value(self, column: str) -> str:
        """A parameter that holds the next value; refused where its type is not the column's."""
        token = self._peek()
        kind = kind_of(self._columns[column])
        value: Any
        if token.kind == "text" and kind in {ValueKind.TEXT, ValueKind.TIME}:
            quote = token.text[0]
            value = token.text[1:-1].replace(quote * 2, quote)
        elif token.kind == "number" and kind is ValueKind.NUMBER:
            value = int(token.text) if re.fullmatch(r"[+-]?\d{1,18}", token.text) else _number(token.text)
        elif token.kind == "word" and token.text.lower() in {"true", "false"} and kind is ValueKind.BOOLEAN:
            value = token.text.lower() == "true"
        elif token.kind in {"text", "number", "word"}:
            raise FilterError(_mismatch(column, self._columns[column], kind, token))
        else:
            raise self._unexpected("a value")
        self._at += 1
        parameter = f"filter_{len(self.parameters)}"
        self.parameters[parameter] = value
        return f"CAST(${parameter} AS {self._columns[column]})" if kind is ValueKind.TIME else f"${parameter}"

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, word: str) -> bool:
        token = self._peek()
        found = token.kind in {"word", "symbol"} and token.text.lower() == word
        self._at += found
        return found

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._unexpected(repr(word))

    def _unexpected(self, wanted: str) -> FilterError:
        token = self._peek()
        found = repr(token.text) if token.text else "the end"
        return FilterError(f"expected {wanted}, found {found} at character {token.start + 1}")


def _tokens(text: str) -> list[_Token]:
    tokens = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise FilterError(f"{text[start : start + 10]!r} at character {start + 1} is not understood")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        position = match.end()
    return [*tokens, _Token("end", "", len(text))]


def _number(text: str) -> float | Decimal:
    """A number that is no small integer: exact where it has no exponent."""
    return float(text) if "e" in text.lower() or len(text) > 36 else Decimal(text)


def _mismatch(column: str, column_type: str, kind: ValueKind, token: _Token) -> str:
    wanted = {
        ValueKind.TEXT: "write the value between quotes",
        ValueKind.TIME: "write the value between quotes, such as '2024-05-01'",
        ValueKind.NUMBER: "write a number without quotes",
        ValueKind.BOOLEAN: "write true or false",
        ValueKind.OTHER: "it can only be asked whether it is null",
    }[kind]
    return f"column {column!r} is {column_type}, {token.text!r} does not fit: {wanted}"
