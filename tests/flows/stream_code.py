"""A user's functions for a stage that is held up between its row groups, by files in the folder `DATAGEN_TEST_GATE`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pandas as pd

GATE = "DATAGEN_TEST_GATE"


def gate(name: str) -> Path:
    """A file that opens or closes something."""
    return Path(os.environ[GATE]) / name


def numbered(row: dict[str, Any]) -> str:
    """The row's number. The third row group (of five rows) is not made before `open` is there; `rejecting` fails a row."""
    number = int(row["number"])
    if number >= 10:
        deadline = time.monotonic() + 300
        while not gate("open").exists():
            assert time.monotonic() < deadline, "nobody opened the gate"
            time.sleep(0.01)
    if number == 3 and gate("rejecting").exists():
        raise ValueError("rejected")
    return str(number)


def whole(frame: pd.DataFrame) -> pd.Series[int]:
    """A column of all rows of a row group at once; `broken` fails the third row group."""
    found = frame["copy"].astype(int)
    if gate("broken").exists() and found.max() >= 10:
        raise ValueError("broken")
    return found


def opening(row: dict[str, Any]) -> str:
    """What a later stage makes of a row; that it is made opens the gate."""
    gate("open").touch()
    return f"<{row['number']}>"
