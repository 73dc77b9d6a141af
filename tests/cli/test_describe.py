"""`prefect-datagen describe`: the column graph as text and as a picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from prefect_datagen.cli.main import application

SVG = "{http://www.w3.org/2000/svg}"
CONFIG = {
    "name": "a <graph>",
    "columns": [
        {"name": "topic", "column_type": "sampler", "sampler_type": "category", "params": {"values": ["tea"]}},
        {"name": "title", "column_type": "expression", "expr": "On {{ topic }}", "drop": True},
        {"name": "text", "column_type": "llm-text", "model_alias": "m", "prompt": "{{ title }} and {{ topic }}"},
        {"name": "size", "column_type": "sql", "expr": "length(text)"},
    ],
    "model_configs": [{"alias": "m", "model": "m"}],
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(CONFIG))
    return path


def test_as_text_each_column_says_what_it_reads_and_how_it_is_filled(config: Path) -> None:
    result = CliRunner().invoke(application(), ["describe", str(config)])
    assert result.exit_code == 0, result.output
    lines = {line.split(":")[0]: line for line in result.output.splitlines()}
    assert lines["topic"] == "topic: seed stage"
    assert all(name in lines["text"] for name in ("title", "topic", "m"))
    assert "text" in lines["size"]
    assert lines["left out of the dataset"].endswith("title")


def test_as_a_picture_there_is_a_box_for_each_column_and_an_arrow_for_each_input(config: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(application(), ["describe", str(config), "-o", str(tmp_path / "graph.svg")])
    assert result.exit_code == 0, result.output
    root = ET.parse(tmp_path / "graph.svg").getroot()
    assert root.tag == f"{SVG}svg"
    assert "a <graph>" in root.attrib["aria-label"]
    texts = {element.text for element in root.iter(f"{SVG}text")}
    assert {"topic", "title", "text", "size"} <= texts
    assert len(list(root.iter(f"{SVG}rect"))) == 4
    assert len(list(root.iter(f"{SVG}path"))) == 4  # title and text read topic, text reads title, size reads text
    [around] = [path.attrib["d"] for path in root.iter(f"{SVG}path") if "H" in path.attrib["d"]]
    lane = float(around.split(" H")[0].split()[-1])  # of topic to text, past title
    assert all(lane > float(box.attrib["y"]) + float(box.attrib["height"]) for box in root.iter(f"{SVG}rect"))
