"""`prefect-datagen describe`: the column graph of a config, as text or as a picture."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefect_datagen.cli.options import ConfigFile, Settings, split_settings

if TYPE_CHECKING:
    from prefect_datagen.config.blueprint import Blueprint

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 44, 70, 18, 20


def describe(
    config: ConfigFile,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.svg", help="Write a picture instead of text.")
    ] = None,
    settings: Settings = None,
) -> None:
    """Show which column of CONFIG reads which, and how each is filled.

    Example: prefect-datagen describe dataset.yaml -o graph.svg
    """
    from prefect_datagen.config.blueprint import Blueprint
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.config.run import RunConfig
    from prefect_datagen.engine.errors import SinkError

    loaded = DatasetConfig.load(Path(config), overrides=split_settings(settings)[0])
    blueprint = Blueprint(loaded, RunConfig(), seed=0)
    if output is None:
        typer.echo(_text(blueprint))
        return
    try:
        output.write_text(_svg(blueprint), encoding="utf-8")
    except OSError as error:
        raise SinkError(f"cannot write {output}: {error.strerror}", path=str(output)) from error
    typer.echo(f"{output}: {len(blueprint.graph.nodes) + len(blueprint.graph.sources)} columns")


def _text(blueprint: Blueprint) -> str:
    lines = [f"{name}: seed stage" for name in blueprint.graph.sources]
    lines.append(blueprint.graph.describe())
    dropped = [column.name for column in blueprint.config.columns if column.drop]
    if dropped:
        lines.append(f"left out of the dataset: {', '.join(dropped)}")
    return "\n".join(line for line in lines if line)


def _layers(blueprint: Blueprint) -> dict[str, int]:
    """How far each column is from the seed stage, in steps; seed columns that nobody reads are left out."""
    graph = blueprint.graph
    read = {name for node in graph.nodes for name in node.needs}
    layer = {name: 0 for name in graph.sources if name in read}
    for node in graph.nodes:
        here = 1 + max((layer.get(name, 0) for name in node.needs), default=-1)
        layer |= dict.fromkeys(node.produces, here)
    return layer


def _svg(blueprint: Blueprint) -> str:
    """The graph from left to right, one column of boxes per layer."""
    layer = _layers(blueprint)
    place: dict[str, tuple[int, int]] = {}
    height = 0
    for depth in range(1 + max(layer.values(), default=0)):
        for row, name in enumerate(name for name, at in layer.items() if at == depth):
            place[name] = (_MARGIN + depth * (_WIDTH + _GAP_X), _MARGIN + row * (_HEIGHT + _GAP_Y))
            height = max(height, place[name][1] + _HEIGHT)
    width = _MARGIN + max((x for x, _ in place.values()), default=0) + _WIDTH
    kinds = {name: node.resource for node in blueprint.graph.nodes for name in node.produces}
    arrows = [
        _arrow(place[name], place[node.name]) for node in blueprint.graph.nodes for name in node.needs if name in place
    ]
    boxes = [_box(name, kinds.get(name, "seed stage"), *at) for name, at in place.items()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + _MARGIN}" '
        f'role="img" aria-label="Column graph of {escape(blueprint.config.name, quote=False)}" font-family="sans-serif">'
        + "".join(arrows + boxes)
        + "</svg>\n"
    )


def _box(name: str, kind: str, x: int, y: int) -> str:
    fill = {"seed stage": "#eef2ff", "(inline)": "#f1f5f9"}.get(kind, "#ecfdf5")
    return (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="{fill}" stroke="#64748b"/>'
        f'<text x="{x + 12}" y="{y + 19}" font-size="14" fill="#0f172a">{escape(name, quote=False)}</text>'
        f'<text x="{x + 12}" y="{y + 35}" font-size="11" fill="#64748b">{escape(kind.strip("()"), quote=False)}</text>'
    )


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1, x2, y2 = start[0] + _WIDTH, start[1] + _HEIGHT // 2, end[0], end[1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    path = f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"
    return f'<path d="{path}" fill="none" stroke="#94a3b8" stroke-width="1.5"/>'
