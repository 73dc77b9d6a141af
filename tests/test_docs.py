"""Pages that list what the code has are held to the code."""

from __future__ import annotations

import re
from pathlib import Path

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig

DOCS = Path(__file__).parents[1] / "docs"


def run_settings_table() -> str:
    """The table of run settings as docs/running.md has it."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in RunConfig.model_fields.items():
        default = getattr(field.default, "value", field.default)
        lines.append(f"| `{name}` | {'none' if default is None else f'`{default}`'} | {field.description} |")
    return "\n".join(lines)


def test_the_page_of_run_settings_is_current() -> None:
    assert run_settings_table() in (DOCS / "running.md").read_text()


def test_the_example_of_tools_is_a_config() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "tools.md").read_text(), re.DOTALL)
    asked = "model_configs: [{alias: writer, model: m}]\n"
    config = DatasetConfig.load(asked + example.replace("{{ question }}", "why?"))
    assert {provider.name for provider in config.mcp_providers} == {"docs", "web"}


def test_the_architecture_page_names_every_room() -> None:
    text = (DOCS / "architecture.md").read_text()
    rooms = [link.name for link in (DOCS.parent / ".src" / "prefect_datagen").iterdir() if link.is_symlink()]
    assert all(f"{room}/" in text for room in rooms)
