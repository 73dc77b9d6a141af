"""SQL as text: what stays the same when layout, comments and the case of keywords change.

The tokenizer of sqlglot reads the text; nothing is parsed and nothing is written anew, so no dialect's syntax is too
new for it, and no literal or quoted name is ever touched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

# sqlglot loads a dialect when it is first used, and that would be while somebody waits for the first chart.
Dialect.get_or_raise("duckdb")

QUERY_REFERENCE = re.compile(r"\{\{\s*queries\.([A-Za-z_]\w*)\s*\}\}")
"""`{{ queries.name }}`: the rows of another query, as a relation."""

# Reserved in every dialect, so none of them can be a name unless it is quoted or follows AS or a dot.
_RESERVED = frozenset(
    {"ALL", "AND", "ANY", "AS", "ASC", "BETWEEN", "BY", "CASE", "CAST", "CROSS", "DESC", "DISTINCT", "ELSE", "END"}
    | {"EXCEPT", "EXISTS", "FROM", "FULL", "GROUP", "HAVING", "IN", "INNER", "INTERSECT", "INTO", "IS", "JOIN", "LEFT"}
    | {"LIKE", "LIMIT", "NATURAL", "NOT", "NULL", "OFFSET", "ON", "OR", "ORDER", "OUTER", "RIGHT", "SELECT", "THEN"}
    | {"UNION", "USING", "WHEN", "WHERE", "WITH"}
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `raw` is the text as written at `start` (from 0); `kind` is sqlglot's name for what it is."""

    raw: str
    kind: str
    start: int


@lru_cache(maxsize=1_024)
def tokens(text: str, dialect: str | None = None) -> tuple[Token, ...] | None:
    """The tokens of an SQL text without its comments, or None where the text cannot be cut into tokens."""
    try:
        found = Dialect.get_or_raise(dialect).tokenize(text)
    except SqlglotError:
        return None
    return tuple(Token(text[token.start : token.end + 1], token.token_type.name, token.start) for token in found)


def normalise(text: str, *, dialect: str | None = None) -> str:
    """The text with single blanks between tokens, without comments, with reserved words in capitals.

    Names keep their case, because a result's column names come from them. Text that is no SQL at all comes back with
    its outer blanks removed.
    """
    found = tokens(text, dialect)
    if found is None:
        return text.strip()
    words: list[str] = []
    before = ""
    for token in found:
        word = token.raw.upper()
        is_name = before in {"AS", "."} or word not in _RESERVED
        words.append(token.raw if is_name else word)
        before = word
    while words and words[-1] == ";":
        words.pop()
    return " ".join(words)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`:name` in a text, from `start` to `end`, outside literals and comments."""

    name: str
    start: int
    end: int


def placeholders(text: str, names: frozenset[str], *, dialect: str | None = None) -> list[Placeholder]:
    """Where `:name` stands for one of `names`. A cast (`::int`), a slice (`x[1:n]`) and quoted text are none.

    Raises:
        ValueError: the text cannot be cut into tokens.
    """
    found = tokens(text, dialect)
    if found is None:
        raise ValueError("a quote or a comment in it is never closed")
    places = []
    for colon, word in pairwise(found):
        if colon.raw != ":" or word.start != colon.start + 1 or word.raw not in names:
            continue
        before = text[colon.start - 1 : colon.start]
        if not (before.isalnum() or before in {"_", "]", ")", '"', "'"}):
            places.append(Placeholder(word.raw, colon.start, word.start + len(word.raw)))
    return places
