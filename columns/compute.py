"""`pyarrow.compute`, imported when the first of its functions is asked for.

Its import makes a Python function of each of Arrow's kernels, which takes as long as all of pydantic; the check of a config
calls none of them as a rule.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """A function of `pyarrow.compute`, kept here for the next time."""
    import pyarrow.compute

    function = getattr(pyarrow.compute, name)
    globals()[name] = function
    return function
