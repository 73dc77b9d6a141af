"""NumPy and Arrow for modules that are imported to check a config: `np` and `pa`, imported when something of them is used.

Both take a tenth of a second, and most checks of a config need neither. Modules that only a run imports have no use for
this: they say `import pyarrow as pa`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["np", "pa"]

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
else:

    class _WhenUsed:
        """A module by another name. What was asked for once stands in the instance: later it costs as much as ever."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            value = getattr(import_module(self._name), attribute)
            setattr(self, attribute, value)
            return value

        def __repr__(self) -> str:
            return f"{self._name}, imported when it is used"

    np, pa = _WhenUsed("numpy"), _WhenUsed("pyarrow")
