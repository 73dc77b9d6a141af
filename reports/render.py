"""A report as a file: HTML, PNG, PDF, SVG or JSON, told by the name of the file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import orjson

from prefect_datagen.engine.errors import ConfigError, SinkError
from prefect_datagen.reports.page import report_page
from prefect_datagen.reports.picture import PictureMaker, report_svg
from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.report import Report
from prefect_datagen.reports.spec import ReportSpec
from prefect_datagen.reports.values import as_json
from prefect_datagen.reports.views import ChartView


class Format(StrEnum):
    """Kinds of file that a report can be."""

    HTML = "html"
    PNG = "png"
    PDF = "pdf"
    SVG = "svg"
    JSON = "json"

    @classmethod
    def of(cls, path: Path) -> Format:
        """The format that a file's name asks for.

        Raises:
            ConfigError: there is no such format.
        """
        try:
            return cls(path.suffix.removeprefix(".").lower())
        except ValueError as error:
            known = ", ".join(f".{each.value}" for each in cls)
            raise ConfigError(f"cannot write a report to {path.name!r}; its name must end in one of {known}") from error


@dataclass(frozen=True)
class Rendered:
    """A report that was written. `failed` says what went wrong, by chart."""

    path: Path
    charts: tuple[str, ...]
    failed: dict[str, str]


def write_report(
    report: Report, path: Path, *, cache: QueryCache, values: Mapping[str, object] | None = None, dark: bool = False
) -> Rendered:
    """Run a report's queries and write it. A chart whose query fails is an error panel in it.

    Raises:
        ConfigError: the file's name asks for no known format, or a value does not fit.
        SinkError: the file cannot be written.
    """
    format_ = Format.of(path)
    with ExitStack() as stack:
        run = report.start(cache, values)
        stack.callback(run.leave)
        maker = stack.enter_context(PictureMaker()) if format_ in {Format.PNG, Format.PDF, Format.SVG} else None
        views = run.views()
        content = render(report.spec, views, format_, maker=maker, values=run.values, dark=dark)
    write_file(path, content)
    return Rendered(path, tuple(views), {name: view.error for name, view in views.items() if view.error is not None})


def render(
    spec: ReportSpec,
    views: Mapping[str, ChartView],
    format_: Format,
    *,
    maker: PictureMaker | None = None,
    values: Mapping[str, Any] | None = None,
    facts: Sequence[str] = (),
    dark: bool = False,
) -> bytes:
    """The report's file. Pictures need a `maker`."""
    if format_ is Format.HTML:
        return report_page(spec, views, values=values, facts=facts).encode()
    if format_ is Format.JSON:
        return report_json(spec, views, values=values)
    assert maker is not None
    svg = report_svg(spec, views, to_svg=maker.vega_svg, dark=dark)
    if format_ is Format.PNG:
        return maker.png(svg)
    return maker.pdf(svg) if format_ is Format.PDF else svg.encode()


def report_json(spec: ReportSpec, views: Mapping[str, ChartView], *, values: Mapping[str, Any] | None = None) -> bytes:
    """The report as JSON: each chart with its first rows and its Vega-Lite specification."""
    content = {
        "title": spec.title,
        "description": spec.description,
        "generated": datetime.now(UTC).isoformat(timespec="seconds"),
        "variables": {name: as_json(value) for name, value in (values or {}).items()},
        "charts": [view.as_json() for view in views.values()],
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is made where it is missing.

    Raises:
        SinkError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, 0o644)
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise SinkError(f"cannot write report {str(path)!r}: {error.strerror or error}", path=str(path)) from error
