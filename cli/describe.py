"""`prefect-datagen describe`: the column graph of a config, as text or as a picture."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prefect_datagen.cli.options import config_file, settings_option, split_settings

if TYPE_CHECKING:
    from prefect_datagen.config.blueprint import Blueprint

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 44, 70, 18, 20


@click.command()
@config_file
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.svg", help="Write a picture instead of text."
)
@settings_option
def describe(config: Path, output: Path | None, settings: tuple[str, ...]) -> None:
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
        click.echo(_text(blueprint))
        return
    try:
        output.write_text(_svg(blueprint), encoding="utf-8")
    except OSError as error:
        raise SinkError(f"cannot write {output}: {error.strerror}", path=str(output)) from error
    click.echo(f"{output}: {len(blueprint.graph.nodes) + len(blueprint.graph.sources)} columns")


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
    """The graph from left to right, one column of boxes per layer.

    An arrow over several layers has a lane below the boxes of those between, so that none runs behind a box.
    """
    layer = _layers(blueprint)
    nodes = blueprint.graph.nodes
    edges = [(name, node.name) for node in nodes for name in node.needs if name in layer]
    reach = {name: max(layer[end] for start, end in edges if start == name) for name in {start for start, _ in edges}}
    place: dict[str, tuple[int, int]] = {}
    lanes: dict[tuple[str, int], tuple[int, int]] = {}
    height = 0
    for depth in range(1 + max(layer.values(), default=0)):
        x, y = _MARGIN + depth * (_WIDTH + _GAP_X), _MARGIN
        for name in (name for name, at in layer.items() if at == depth):
            place[name] = (x, y)
            y += _HEIGHT + _GAP_Y
        for name in (name for name, at in layer.items() if at < depth < reach.get(name, 0)):
            lanes[name, depth] = (x, y)
            y += _GAP_Y
        height = max(height, y - _GAP_Y)
    width = _MARGIN + max((x for x, _ in place.values()), default=0) + _WIDTH
    kinds = {name: node.resource for node in nodes for name in node.produces}
    arrows = [
        _arrow(place[start], [lanes[start, depth] for depth in range(layer[start] + 1, layer[end])], place[end])
        for start, end in edges
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


def _arrow(start: tuple[int, int], lanes: list[tuple[int, int]], end: tuple[int, int]) -> str:
    """A curve in each gap between two layers, and a straight line along each lane."""
    x, y = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    path = f"M{x} {y}"
    for left, level in [*lanes, (end[0], end[1] + _HEIGHT // 2)]:
        middle = (x + left) // 2
        path += f" C{middle} {y} {middle} {level} {left} {level}"
        x, y = left + _WIDTH, level
        if (left, level) in lanes:
            path += f" H{x}"
    return f'<path d="{path}" fill="none" stroke="#94a3b8" stroke-width="1.5"/>'
