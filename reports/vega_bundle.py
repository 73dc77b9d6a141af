"""Vega, Vega-Lite and Vega-Embed as one script, as the vl-convert package carries them.

Putting the bundle together takes vl-convert two seconds, so it is kept in the user's cache folder, by version.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile

_LOCK = threading.Lock()


def vega_bundle() -> str:
    """The script that defines `vegaEmbed`, `vegaLite` and `vega` on `window`. It can stand in a `<script>` element."""
    with _LOCK:  # two threads at once would put it together twice
        return _bundle()


@lru_cache(maxsize=1)
def _bundle() -> str:
    kept = _cache_folder() / f"vega-{version('vl-convert-python')}.js"
    try:
        return kept.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        bundle = _put_together()
        _keep(kept, bundle)
        return bundle


def _put_together() -> str:
    import vl_convert

    # `</script` and `<!--` would end the element around it; in JavaScript they only ever stand in strings.
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # the stub knows no default
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _keep(path: Path, text: str) -> None:
    """Write the file whole or not at all; a cache that cannot be written is done without."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    except OSError:
        return


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "prefect-datagen"
