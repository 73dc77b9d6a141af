"""Functions of a user, which fail while the file named by `DATAGEN_TEST_FAULT` is there."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pandas as pd

SWITCH = "DATAGEN_TEST_FAULT"


class UserError(Exception):
    """What user code raises."""


def is_broken() -> bool:
    """Whether user code is to fail now."""
    return Path(os.environ[SWITCH]).exists()


def same(frame: pd.DataFrame) -> pd.DataFrame:
    """A processor that changes nothing, or raises for the third row group."""
    if is_broken() and "0E8" in set(frame["mood"]):
        raise UserError("no thanks")
    return frame


def fill_disk(frame: pd.DataFrame) -> pd.DataFrame:
    """A processor that changes nothing. Told to by the switch, it fills a disk but for so many blocks."""
    if is_broken():
        order = json.loads(Path(os.environ[SWITCH]).read_text())
        fill(Path(order["disk"]), blocks=order["blocks"])
    return frame


def fill(disk: Path, *, blocks: int) -> None:
    """Leave room for so many blocks on a file system."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    state = os.statvfs(disk)
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, (state.f_bavail - blocks) * state.f_bsize)


def all_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """A processor over the whole dataset that changes nothing, or raises."""
    if is_broken():
        raise UserError("not these rows")
    return frame


def fewer(frame: pd.DataFrame) -> pd.DataFrame:
    """A processor that changes nothing, or drops a row."""
    return frame.iloc[1:] if is_broken() else frame


def more(frame: pd.DataFrame) -> pd.DataFrame:
    """A processor that changes nothing, or repeats a row."""
    return pd.concat([frame, frame.iloc[:1]]) if is_broken() else frame


def shout(row: dict[str, Any]) -> str:
    """A cell, or an error for some moods."""
    if is_broken() and row["mood"] == "sad":
        raise UserError("too sad")
    return str(row["title"]).upper()


def lengths(frame: pd.DataFrame) -> pd.Series[int]:
    """A full column, or an error."""
    if is_broken():
        raise UserError("no column today")
    return frame["title"].str.len()


def short(frame: pd.DataFrame) -> pd.Series[int]:
    """A full column, or one with a row too few."""
    lengths = frame["title"].str.len()
    return lengths.iloc[1:] if is_broken() else lengths


def stuck(row: dict[str, Any]) -> str:
    """A cell, or one that never comes back."""
    if is_broken():
        _never_come_back("cell")
    return str(row["title"])


def stuck_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A processor that changes nothing, or never comes back."""
    if is_broken():
        _never_come_back("processor")
    return frame


def _never_come_back(what: str) -> None:
    """The switch says who is stuck."""
    with open(os.environ[SWITCH], "a") as switch:
        switch.write(f" {what}")
    threading.Event().wait()


def callback(outcome: Any) -> None:
    """A callback that raises for the second row group."""
    if is_broken() and outcome.index == 1:
        raise UserError("not told")
