"""Types by the names that people write in a config: `str`, `int`, `float`, `bool`, `datetime`, `json`, or Arrow's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from prefect_datagen.engine.arrays import pa

_ARROW_NAMES: Mapping[str, str] = {
    "str": "string",
    "int": "int64",
    "float": "double",
    "bool": "bool",
    "datetime": "timestamp[us]",
    "json": "string",
}

_NESTED = re.compile(r"(?P<kind>list|struct)<(?P<inner>.*)>", re.DOTALL)


def parse_dtype(text: str) -> pa.DataType:
    """The Arrow type of a name: one of those above, or one of Arrow's, such as `int32` or `date32[day]`.

    `list<type>` and `struct<name: type, ...>` may be nested.

    Raises:
        ValueError: there is no such type.
    """
    text = text.strip()
    nested = _NESTED.fullmatch(text)
    if nested is None:
        try:
            return pa.type_for_alias(_ARROW_NAMES.get(text, text))
        except ValueError:
            known = ", ".join(_ARROW_NAMES)
            raise ValueError(
                f"{text!r} is no type: use {known}, list<type>, struct<name: type, ...> or a name of Arrow's"
            ) from None
    if nested["kind"] == "list":
        return pa.list_(parse_dtype(nested["inner"].removeprefix("item:")))
    fields = []
    for part in _split(nested["inner"]):
        name, colon, type_ = part.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"{part.strip()!r} in {text!r} is no field: write name: type")
        fields.append((name.strip(), parse_dtype(type_)))
    if not fields:
        raise ValueError(f"{text!r} is no type: a struct has fields")
    return pa.struct(fields)


def _split(text: str) -> Iterator[str]:
    """The parts between commas that stand in no brackets."""
    depth, start = 0, 0
    for at, char in enumerate(text):
        depth += (char in "<[(") - (char in ">])")
        if char == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    if text[start:].strip():
        yield text[start:]
