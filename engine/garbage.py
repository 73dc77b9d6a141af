"""When not to look for garbage, and where not."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

_runs = itertools.count()


@contextmanager
def no_collection() -> Iterator[None]:
    """While many records are made that all stay: the collector would look through them, and all of Prefect's modules,
    again and again for a fifth of a resume's time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def keep_what_is_there() -> None:
    """What is there now (modules, Prefect, the config) stays, until `keep_no_longer`, and is not looked through.

    A full collection would walk all of it while calls wait: 0.1 s each time. What comes later, such as rows, is collected as
    ever. What a run before this one left behind is collected first: it would not be found while it is kept.
    """
    if next(_runs):
        gc.collect()
    gc.freeze()


def keep_no_longer() -> None:
    """Look through everything again."""
    gc.unfreeze()
