"""What exactly differs between the config that a dataset was built from and the one that is asked for now, field by field.

A fingerprint says *that* a part differs; it is what decides. This says how, for people, from the two configs as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

_NAMED = (("column", "columns", "name"), ("model", "model_configs", "alias"), ("processor", "processors", "name"))
_WHOLE = {"seed data": "seed_config", "constraints": "constraints", "checks that reject rows": "checks"}
_MOST_FIELDS = 4
_LONGEST_VALUE = 48


def explain(
    part: str, old: Mapping[str, str], new: Mapping[str, str], configs: tuple[dict[str, Any], dict[str, Any]]
) -> str:
    """A part whose fingerprint differs, in words, with the fields that do: `column text changed: prompt 'a' -> 'b'`.

    Args:
        part: name of the part.
        old: fingerprints of the dataset that is there, by part.
        new: fingerprints of what is asked for.
        configs: both configs as plain data, the old one first; empty where it is not known.
    """
    if part not in new:
        return f"{part} was removed"
    if part not in old:
        return f"{part} is new"
    if part in ("run seed", "library version"):
        return f"{part} changed: {old[part]} -> {new[part]}"
    before, after = (_part(config, part) for config in configs)
    moved = part.endswith(" order") and sorted(before) != sorted(after)  # those that came or went are told by name
    if before is None or after is None or moved:
        return f"{part} changed"
    fields = [f"{path} {_short(first)} -> {_short(second)}" for path, first, second in _differing(before, after, "")]
    if not fields:
        fields = [_outside_the_config(part, after)]
    shown = "; ".join(fields[:_MOST_FIELDS]) + (
        f"; and {len(fields) - _MOST_FIELDS} more" * (len(fields) > _MOST_FIELDS)
    )
    return f"{part} changed: {shown}"


def plain(text: str | None) -> dict[str, Any]:
    """A config's YAML as plain data; nothing where there is none, or where it cannot be read."""
    try:
        data = yaml.safe_load(text or "")
    except yaml.YAMLError:
        return {}
    return data if isinstance(data, dict) else {}


def _part(config: dict[str, Any], part: str) -> Any:
    if part in _WHOLE:
        return config.get(_WHOLE[part])
    for kind, field, key in _NAMED:
        if part == f"{kind} order":
            return [each.get(key) for each in config.get(field, [])]
        if part.startswith(f"{kind} "):
            return next((each for each in config.get(field, []) if f"{kind} {each.get(key)}" == part), None)
    return None


def _outside_the_config(part: str, now: Any) -> str:
    """What a part's fingerprint covers that no field says."""
    if part == "seed data":
        source = now.get("source", {}) if isinstance(now, dict) else {}
        place = source.get("path") or source.get("url") or source.get("table") or source.get("seed_type")
        return f"content of {place!r}"
    return "source of its function"


def _differing(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths of the smallest parts that differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from _differing(old.get(name), new.get(name), f"{path}.{name}" if path else str(name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (first, second) in enumerate(zip(old, new, strict=True)):
            yield from _differing(first, second, f"{path}[{at}]")
    elif old != new:
        yield path, old, new


def _short(value: Any) -> str:
    """A value on one line. Of a long text, the end is cut: the field's name is there to look it up."""
    if value is None:
        return "not set"
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 4]}..{text[-1]}"
