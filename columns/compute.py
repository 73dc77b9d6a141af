"""Arrow's kernels, imported when the first of them is asked for.

The import of `pyarrow.compute` makes a Python function of each kernel, which takes as long as all of pydantic, a tenth of a
second on a slow machine. `take` and `index_in`, all that most samplers need, are called without it; the check of a config
calls none at all as a rule.
"""

from __future__ import annotations

from typing import Any

from prefect_datagen.engine.arrays import pa


def take(values: pa.Array, positions: pa.Array) -> pa.Array:
    """`values.take(positions)`."""
    from pyarrow._compute import call_function

    return call_function("take", [values, positions])


def index_in(values: pa.Array, listed: pa.Array) -> pa.Array:
    """Position of each value in `listed`, int32; null where it is not there, and for null."""
    from pyarrow._compute import SetLookupOptions, call_function

    return call_function("index_in", [values], SetLookupOptions(listed, skip_nulls=True))


def __getattr__(name: str) -> Any:
    """A function of `pyarrow.compute`, kept here for the next time."""
    import pyarrow.compute

    function = getattr(pyarrow.compute, name)
    globals()[name] = function
    return function
