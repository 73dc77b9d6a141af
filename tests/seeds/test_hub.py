"""`hf://` seeds through huggingface_hub, from a hub of our own over real HTTP; and without the package, how to get it."""

from __future__ import annotations

import http.server
import io
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.reader import open_seed

ROWS = 1_000
TREE = "/api/datasets/me/mine/tree/main"
FILE = "/datasets/me/mine/resolve/main/data/rows.parquet"


def parquet() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame({"n": range(ROWS), "code": [f"0E{n}" for n in range(ROWS)]}).to_parquet(buffer, row_group_size=100)
    return buffer.getvalue()


class Hub(http.server.BaseHTTPRequestHandler):
    """One data set `me/mine` with one file, for the token `hf_right`."""

    protocol_version = "HTTP/1.1"
    content = parquet()

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def entries(self) -> list[dict[str, object]]:
        return [{"type": "file", "path": "data/rows.parquet", "size": len(self.content), "oid": "a" * 40}]

    def respond(self) -> None:
        asked = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        path = self.path.partition("?")[0].replace("%2F", "/")
        if self.headers.get("authorization") != "Bearer hf_right":
            self.answer(401, b'{"error": "Invalid credentials"}', content_type="application/json")
        elif path == TREE or (path.endswith("/paths-info/main") and "rows.parquet" not in asked):
            folder = {"type": "directory", "path": "data", "oid": "c" * 40}
            self.answer(200, json.dumps([folder]).encode(), content_type="application/json")
        elif path.endswith("/paths-info/main") or path.startswith(TREE):
            self.answer(200, json.dumps(self.entries()).encode(), content_type="application/json")
        elif path.startswith("/api/datasets/me/mine"):
            info = {"id": "me/mine", "sha": "b" * 40, "siblings": [], "tags": [], "private": False}
            self.answer(200, json.dumps(info).encode(), content_type="application/json")
        elif path.startswith("/datasets/me/mine/resolve/"):
            self.send_file()
        else:
            self.answer(404, b"{}", content_type="application/json")

    do_GET = do_HEAD = do_POST = respond  # noqa: N815 - the names that http.server looks for

    def send_file(self) -> None:
        first, last = 0, len(self.content) - 1
        asked = (self.headers.get("range") or "").removeprefix("bytes=")
        if asked:
            start, _, end = asked.partition("-")
            first, last = int(start), min(last, int(end or last))
        common = {"etag": '"one"', "x_repo_commit": "b" * 40, "accept_ranges": "bytes"}
        if asked:
            common["content_range"] = f"bytes {first}-{last}/{len(self.content)}"
        self.answer(206 if asked else 200, self.content[first : last + 1], **common)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("MY_TOKEN", "hf_right")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def seed(path: str, endpoint: str | None, token: str = "MY_TOKEN") -> SeedConfig:
    source = {"seed_type": "hf", "path": path, "endpoint": endpoint, "token": token}
    return SeedConfig.model_validate({"source": source})


@pytest.mark.parametrize("path", ["datasets/me/mine/data/rows.parquet", "hf://datasets/me/mine/data/*.parquet"])
def test_rows_come_from_the_hub_by_range(hub: str, tmp_path: Path, path: str) -> None:
    reader = open_seed(seed(path, hub), base_dir=tmp_path, run_seed=1)
    assert reader.num_rows == ROWS
    assert reader.read(500, 2).to_pydict() == {"n": [500, 501], "code": ["0E500", "0E501"]}


def test_a_refused_token_is_a_config_error_that_does_not_show_it(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hf_wrong")
    with pytest.raises(ConfigError) as caught:
        open_seed(seed("datasets/me/mine/data/*.parquet", hub), base_dir=tmp_path, run_seed=1)
    assert "hf_wrong" not in str(caught.value)


def test_without_the_package_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hf_right")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "hf", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'prefect-datagen\[hf\]'"):
        open_seed(seed("datasets/me/mine/data/rows.parquet", None), base_dir=tmp_path, run_seed=1)
