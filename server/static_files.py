"""The page and its files: read once, served by exact name, so that no path from a request ever reaches the disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from prefect_datagen.server.asgi import Scope, Send, error_body, header, respond, respond_json

FOLDER = Path(__file__).parent / "static"

_CONTENT_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}


@dataclass(frozen=True)
class _File:
    body: bytes
    content_type: bytes
    etag: str


class StaticFiles:
    """Everything in `server/static`, by URL path."""

    def __init__(self) -> None:
        self._files = {
            f"/static/{path.name}": _File(
                body=body,
                content_type=_CONTENT_TYPES[path.suffix],
                etag=f'"{hashlib.sha256(body).hexdigest()[:20]}"',
            )
            for path in FOLDER.iterdir()
            if path.suffix in _CONTENT_TYPES
            for body in [path.read_bytes()]
        }
        self._files["/"] = self._files.pop("/static/index.html")

    async def __call__(self, scope: Scope, send: Send) -> None:
        """Answer with a file, 304 where the client has it already, or 404."""
        file = self._files.get(scope["path"])
        if file is None:
            await respond_json(send, 404, error_body("not found", "there is nothing at this address"))
            return
        # Asked for anew each time, so that an upgraded server is never shown through an old page.
        headers = [(b"etag", file.etag.encode()), (b"cache-control", b"no-cache")]
        if header(scope, b"if-none-match") == file.etag:
            await respond(send, 304, b"", content_type=file.content_type, headers=headers)
        else:
            await respond(send, 200, file.body, content_type=file.content_type, headers=headers)
