"""The tour of docs/tour.md, with the suite's server and worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.mock_server import MockServer
from tests.prefect.runs import POOL
from tests.prefect.server import PrefectServer
from tests.server.browser import chromium
from tests.tour import PICTURES, Tour, walk


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Width and height of each picture, in pixels."""
    found = {}
    for file in folder.iterdir():
        with Image.open(file) as picture:
            found[file.name] = picture.size
    return found


@pytest.mark.skipif(chromium() is None, reason="no Chromium: install Debian's package `chromium`")
@pytest.mark.usefixtures("worker")
def test_the_tour_shows_what_its_page_tells(server: PrefectServer, mock_server: MockServer, tmp_path: Path) -> None:
    """A schedule starts a chain, a stage fails, a retry continues; the pages show it. Pictures of the page are there."""
    walk(Tour(tmp_path, server, mock_server, pool=POOL, pictures=tmp_path / "pictures"))
    kept = sizes(tmp_path / "pictures")
    assert kept == sizes(PICTURES)
    page = (PICTURES.parent / "tour.md").read_text()
    assert {name for name in kept if f"](tour/{name})" in page} == kept.keys()
