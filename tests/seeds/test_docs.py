"""Every config in the documents of seeds and processors is one that loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from prefect_datagen.processors import Processor, ProcessorConfig
from prefect_datagen.seeds.config import SeedConfig

DOCS = Path(__file__).parents[2] / "docs"
_processors: TypeAdapter[list[ProcessorConfig]] = TypeAdapter(list[Processor])


def blocks(page: str) -> list[dict[str, object]]:
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)]


@pytest.mark.parametrize("page", ["seeds.md", "processors.md"])
def test_every_config_in_the_docs_loads(page: str) -> None:
    found = blocks(page)
    assert len(found) >= 3
    for block in found:
        if "seed_config" in block:
            SeedConfig.model_validate(block["seed_config"])
        else:
            _processors.validate_python(block["processors"])


def test_every_kind_of_source_and_processor_is_in_the_docs() -> None:
    for page, schema in (("seeds.md", SeedConfig.model_json_schema()), ("processors.md", _processors.json_schema())):
        text = (DOCS / page).read_text()
        kinds = re.findall(r"'(?:seed|processor)_type': {'const': '(\w+)'", str(schema))
        assert len(kinds) >= 7
        assert [kind for kind in kinds if f"`{kind}`" not in text] == []
