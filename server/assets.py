"""Style sheet and scripts of reports: `reports/` owns them, the page adds them to itself once the server is ready."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache

from prefect_datagen.reports.page import script, stylesheet

# Putting Vega's bundle together keeps Python's lock for two seconds: it is done by a process of its own.
_PRINT_BUNDLE = """
import sys
from prefect_datagen.reports.vega_bundle import vega_bundle
sys.stdout.buffer.write(vega_bundle().encode())
"""


@dataclass(frozen=True)
class Asset:
    """A file of the page that is made, not read."""

    body: bytes
    content_type: str

    @property
    def etag(self) -> str:
        """Names this content."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:20]}"'


@lru_cache(maxsize=3)
def asset(name: str) -> Asset | None:
    """`report.css`, `report.js` or `vega.js`; None for any other name. The last may take seconds the first time.

    Raises:
        subprocess.CalledProcessError: Vega's bundle could not be put together.
    """
    if name == "report.css":
        return Asset(stylesheet().encode(), "text/css; charset=utf-8")
    if name == "report.js":
        return Asset(script().encode(), "text/javascript; charset=utf-8")
    if name == "vega.js":
        made = subprocess.run([sys.executable, "-c", _PRINT_BUNDLE], capture_output=True, check=True)
        return Asset(made.stdout, "text/javascript; charset=utf-8")
    return None
