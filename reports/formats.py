"""Values as people read them. A format is one of Python's for numbers (`,.0f`, `.1%`), `bytes`, `duration` or `si`."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

MISSING = "–"


def show(value: Any, format_: str | None = None) -> str:
    """A value as text. Text itself comes back unchanged, whatever the format."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return _number(value, format_)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _duration(value.total_seconds())
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def check_format(format_: str) -> None:
    """Raise `ValueError` where no number can be written in a format."""
    _number(1, format_)  # a whole number fits every format there is; `d` takes no other


def _number(value: int | float | Decimal, format_: str | None) -> str:
    if not math.isfinite(value):
        return str(float(value))
    if format_ is None:
        return _plain(value)
    if format_ == "bytes":
        return _scaled(float(value), 1024.0, (" B", " KiB", " MiB", " GiB", " TiB", " PiB"))
    if format_ == "si":
        return _scaled(float(value), 1000.0, ("", " k", " M", " G", " T", " P"))
    if format_ == "duration":
        return _duration(float(value))
    try:
        return format(float(value) if "e" in format_ or "f" in format_ or "%" in format_ else value, format_)
    except ValueError as error:
        raise ValueError(f"{format_!r} is no number format; try ',.0f', '.1%', 'bytes', 'duration' or 'si'") from error


def _plain(value: int | float | Decimal) -> str:
    if value == int(value) and abs(float(value)) < 1e15:
        return f"{int(value):,}"
    size = abs(float(value))
    if size >= 1e15 or size < 1e-4:
        return f"{float(value):.3g}"
    digits = max(0, min(6, 3 - math.floor(math.log10(size))))
    text = f"{float(value):,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(value: float, base: float, units: tuple[str, ...]) -> str:
    step = 0
    while abs(value) >= base and step < len(units) - 1:
        value /= base
        step += 1
    digits = 0 if step == 0 and value == int(value) else 1
    return f"{value:,.{digits}f}{units[step]}"


def _duration(seconds: float) -> str:
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    if seconds < 1:
        return f"{sign}{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{sign}{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{sign}{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{sign}{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{sign}{days} d {hours} h"
