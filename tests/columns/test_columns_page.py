"""What `docs/columns.md` shows is accepted, and every column type has its place there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from prefect_datagen.columns.base import ColumnConfig
from prefect_datagen.columns.kinds import Kinds
from prefect_datagen.config.dataset import Column

PAGE = (Path(__file__).parents[2] / "docs" / "columns.md").read_text(encoding="utf-8")
EXAMPLES = [column for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for column in yaml.safe_load(block)]
ADAPTER: TypeAdapter[ColumnConfig] = TypeAdapter(Column)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example["name"]))
def test_each_example_is_a_column_without_mistakes(example: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text(re.findall(r"```python\n(def slug.*?)```", PAGE, re.DOTALL)[0])
    column = ADAPTER.validate_python(example)
    column.place_in(tmp_path)
    assert list(column.check()) == []
    assert column.produces()[0] == example["name"]


def test_every_column_type_is_in_the_table() -> None:
    kinds: Kinds = Column.__metadata__[0]  # type: ignore[attr-defined]
    types = {model.model_fields["column_type"].default for model in kinds.models()} - {"sampler", "seed-dataset"}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)) >= types
    assert {example["column_type"] for example in EXAMPLES} == types
