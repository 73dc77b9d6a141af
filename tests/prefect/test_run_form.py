"""The UI's form for a custom run, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefect_datagen.blocks import ModelEndpoint, ParquetRowGroupSink
from tests.flows.configs import samplers
from tests.prefect.runs import POOL, client, ended, start
from tests.prefect.server import PrefectServer
from tests.prefect_api import deploy
from tests.server.browser import Browser, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium: install Debian's package `chromium`")

PICKERS = (
    "[...document.querySelectorAll('select')].filter((list) => "
    "[...list.options].some((each) => each.text.trim() === 'of-the-form')).length"
)
"""How many lists of the page offer blocks of this name."""


def plain(text: str) -> str:
    """A text as the page shows it: without marks of code, with single spaces."""
    return " ".join(text.replace("`", "").split())


def press(browser: Browser, text: str) -> None:
    """Press the button with this text."""
    button = f"[...document.querySelectorAll('button')].find((each) => each.innerText.trim() === {json.dumps(text)})"
    browser.wait(button)
    browser.run(f"{button}.id = 'to-press'")
    browser.click("#to-press")
    browser.run("document.getElementById('to-press')?.removeAttribute('id')")


def choices(browser: Browser) -> list[list[str]]:
    """What can be picked in each list of the page."""
    found: list[list[str]] = browser.run(
        "[...document.querySelectorAll('select')].map((list) => [...list.options].map((each) => each.text.trim()))"
    )
    return found


@pytest.mark.usefixtures("worker")
def test_the_form_tells_and_takes_every_parameter(server: PrefectServer, tmp_path: Path) -> None:
    """Descriptions, defaults and enums; sinks and endpoints picked from saved blocks; what the form sends runs."""
    file, out = tmp_path / "dataset.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(samplers()))
    model = ModelEndpoint(provider="endpoint", base_url="http://127.0.0.1:9/v1")
    endpoint = model.save("of-the-form", overwrite=True)
    ParquetRowGroupSink(path=out).save("of-the-form", overwrite=True)
    deploy(file, name="form", num_records=3, sink="of-the-form", work_pool=POOL)
    with client() as api:
        deployment = api.read_deployment_by_name("build-dataset/form")
    schema: dict[str, Any] = deployment.parameter_openapi_schema
    run = schema["definitions"]["RunConfig"]["properties"]
    target = schema["definitions"]["Target"]["properties"]
    told = [each["description"] for part in (schema["properties"], run, target) for each in part.values()]
    assert len(told) > 25
    with Browser(width=1280, height=2400, patience=120) as browser:
        browser.open(f"http://127.0.0.1:{server.port}/deployments/deployment/{deployment.id}/run")
        browser.wait("document.body.innerText.includes('on_row_group_complete')")
        browser.wait(f"{PICKERS} === 1")  # the sink's
        page = plain(browser.run("document.body.innerText"))
        assert [text for text in told if plain(text) not in page] == []
        numbers = browser.run("[...document.querySelectorAll('input[type=number]')].map((each) => Number(each.value))")
        assert numbers == [3, *(each["default"] for each in run.values() if each.get("type") in {"integer", "number"})]
        lists = choices(browser)
        for enum in ("ResumeMode", "Stages", "OnShortfall", "TargetMode"):
            assert schema["definitions"][enum]["enum"] in lists
        press(browser, "Add item")
        browser.wait(f"{PICKERS} === 2")  # an endpoint's
    picked = {"$ref": {"block_document_id": str(endpoint)}}
    state = ended(start("build-dataset/form", num_records=5, endpoints=[picked])).state
    assert state is not None
    assert state.name == "Completed", state.message
    assert len(ParquetRowGroupSink(path=out).reader().load()) == 5
