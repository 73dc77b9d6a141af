"""`ReportSpec`: what a report is, as people write it in YAML. `reports/spec_file.py` reads it from a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    model_validator,
)

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.formats import check_format
from prefect_datagen.reports.query import SourceLimits

Name = Annotated[StrictStr, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


class Config(BaseModel):
    """Base of everything a user writes: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


# ---- sources


class _SourceConfig(Config):
    limits: SourceLimits | None = Field(default=None, description="Slots, timeouts, time to live, circuit.")


class DatasetSourceConfig(_SourceConfig):
    """A dataset directory, through DuckDB."""

    type: Literal["dataset"] = "dataset"
    path: StrictStr | None = Field(
        default=None, description="The folder, relative to the report's file; by default the one given beside the file."
    )


class DuckDBSourceConfig(_SourceConfig):
    """A DuckDB file, read-only."""

    type: Literal["duckdb"]
    path: StrictStr


class SQLiteSourceConfig(_SourceConfig):
    """A SQLite file, read-only."""

    type: Literal["sqlite"]
    path: StrictStr


class SQLAlchemySourceConfig(_SourceConfig):
    """Any database that SQLAlchemy reaches."""

    type: Literal["sqlalchemy"]
    url: StrictStr = Field(description="Database URL; `${NAME}` stands for an environment variable (for the password).")


class BlockSourceConfig(_SourceConfig):
    """A `QuerySource` block saved in Prefect."""

    type: Literal["block"]
    block: StrictStr = Field(description="Name of the saved block, such as `warehouse`.")


SourceConfig = Annotated[
    DatasetSourceConfig | DuckDBSourceConfig | SQLiteSourceConfig | SQLAlchemySourceConfig | BlockSourceConfig,
    Field(discriminator="type"),
]


# ---- variables


class VariableType(StrEnum):
    """Type of a variable's value."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"


class Widget(StrEnum):
    """How a reader changes a variable."""

    INPUT = "input"
    SLIDER = "slider"
    CHECKBOX = "checkbox"
    SELECT = "select"
    RADIO = "radio"


Value = str | int | float | bool | date | datetime


class Variable(Config):
    """A value that readers may change; it reaches SQL as a bound parameter only."""

    type: VariableType = Field(description="What the value is; text stays text, whatever it looks like.")
    label: StrictStr | None = None
    default: Scalar | list[Scalar] | None = Field(default=None, description="Value where none is given.")
    choices: list[Scalar] | None = Field(default=None, min_length=1, description="The only values there are.")
    multiple: bool = Field(default=False, description="A list of values, for `IN {{ variables.name }}`.")
    minimum: float | None = None
    maximum: float | None = None
    widget: Widget | None = Field(default=None, description="By default what fits the type.")

    @model_validator(mode="after")
    def _fits_together(self) -> Variable:
        if self.widget is Widget.SLIDER and (self.minimum is None or self.maximum is None):
            raise ValueError("a slider needs minimum and maximum")
        if self.widget in {Widget.SELECT, Widget.RADIO} and self.choices is None:
            raise ValueError(f"widget {self.widget.value} needs choices")
        for choice in self.choices or []:
            self._one(choice)
        if self.default is not None:
            self.parse(self.default)
        return self

    @property
    def shown_as(self) -> Widget:
        """The widget, where none was chosen by what fits the type."""
        if self.widget is not None:
            return self.widget
        if self.choices is not None:
            return Widget.SELECT
        return Widget.CHECKBOX if self.type is VariableType.BOOLEAN else Widget.INPUT

    def parse(self, given: object) -> Value | list[Value] | None:
        """A value of the variable's type from YAML, the command line or a web form. None and no value are null.

        Raises:
            ValueError: it is not one, or outside the bounds or choices.
        """
        if given is None:
            return None
        if self.multiple:
            return [self._one(each) for each in (given if isinstance(given, (list, tuple)) else [given])]
        return self._one(given)

    def _one(self, given: object) -> Value:
        value: Value = _PARSERS[self.type](given)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if self.minimum is not None and value < self.minimum:
                raise ValueError(f"{given!r} is below the minimum {self.minimum:g}")
            if self.maximum is not None and value > self.maximum:
                raise ValueError(f"{given!r} is above the maximum {self.maximum:g}")
        if self.choices is not None and value not in [_PARSERS[self.type](choice) for choice in self.choices]:
            raise ValueError(f"{given!r} is none of {self.choices}")
        return value


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"{given!r} is no text; put it in quotes")
    return given


def _integer(given: object) -> int:
    try:
        if isinstance(given, str):
            return int(given, 10)
        if isinstance(given, int) and not isinstance(given, bool):
            return given
    except ValueError:
        pass
    raise ValueError(f"{given!r} is no whole number")


def _number(given: object) -> float:
    try:
        if isinstance(given, (str, int, float)) and not isinstance(given, bool) and math.isfinite(float(given)):
            return float(given)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{given!r} is no number")


def _boolean(given: object) -> bool:
    if isinstance(given, bool):
        return given
    if given in {"true", "false"}:
        return given == "true"
    raise ValueError(f"{given!r} is neither true nor false")


def _date(given: object) -> date:
    try:
        return date.fromisoformat(_text(given))
    except ValueError as error:
        raise ValueError(f"{given!r} is no date such as 2025-01-31") from error


def _datetime(given: object) -> datetime:
    try:
        return datetime.fromisoformat(_text(given))
    except ValueError as error:
        raise ValueError(f"{given!r} is no time such as 2025-01-31T12:00:00") from error


_PARSERS: dict[VariableType, Callable[[object], Value]] = {
    VariableType.TEXT: _text,
    VariableType.INTEGER: _integer,
    VariableType.NUMBER: _number,
    VariableType.BOOLEAN: _boolean,
    VariableType.DATE: _date,
    VariableType.DATETIME: _datetime,
}


# ---- queries


class QueryConfig(Config):
    """One SELECT. `{{ variables.name }}` or `:name` binds a value; `{{ queries.name }}` reads another query's rows."""

    sql: StrictStr = Field(min_length=1)
    source: Name | None = Field(default=None, description="May be left out where the report has one source.")


# ---- charts


class _ChartConfig(Config):
    title: StrictStr = ""
    description: StrictStr = Field(default="", description="What the chart shows; read by screen readers.")


class _QueryChart(_ChartConfig):
    query: Name | None = Field(default=None, description="Name of a query.")
    sql: StrictStr | None = Field(default=None, description="The query itself, instead of a name.")
    source: Name | None = Field(default=None, description="Source of `sql`.")

    @model_validator(mode="after")
    def _one_query(self) -> _QueryChart:
        if (self.query is None) == (self.sql is None):
            raise ValueError("give either query or sql")
        if self.source is not None and self.sql is None:
            raise ValueError("source belongs to sql; a named query has its own")
        return self


class Stack(StrEnum):
    """How series of one chart stand to each other."""

    STACKED = "stacked"
    GROUPED = "grouped"
    SHARE = "share"


def _checked_format(format_: str) -> str:
    check_format(format_)
    return format_


NumberFormat = Annotated[StrictStr, AfterValidator(_checked_format)]
"""How numbers are written: one of Python's formats, or `bytes`, `duration`, `si`."""


class BarConfig(_QueryChart):
    """Bars, one for each row."""

    type: Literal["bar"]
    x: StrictStr = Field(description="Column of the categories.")
    y: StrictStr = Field(description="Column of the lengths.")
    color: StrictStr | None = Field(default=None, description="Column of the series.")
    stack: Stack = Stack.STACKED
    horizontal: bool | None = Field(default=None, description="By default where category names are long.")
    format: NumberFormat | None = Field(default=None, description="Format of the values, such as `,.0f` or `.1%`.")


class LineConfig(_QueryChart):
    """Lines over an ordered axis: numbers, dates or times."""

    type: Literal["line"]
    x: StrictStr
    y: StrictStr | list[StrictStr] = Field(description="Column of the values; several columns are several lines.")
    color: StrictStr | None = Field(default=None, description="Column of the series, where y is one column.")
    format: NumberFormat | None = None


class AreaConfig(_QueryChart):
    """Filled lines, stacked where there are several."""

    type: Literal["area"]
    x: StrictStr
    y: StrictStr | list[StrictStr]
    color: StrictStr | None = None
    format: NumberFormat | None = None


class HistogramConfig(_QueryChart):
    """How often values occur: raw values (`x`), or bins the query has counted (`x`, `x_end`, `y`)."""

    type: Literal["histogram"]
    x: StrictStr
    x_end: StrictStr | None = None
    y: StrictStr | None = None
    bins: int = Field(default=30, ge=1, le=500)
    format: NumberFormat | None = Field(default=None, description="Format of the values on the x axis.")


class PointConfig(_QueryChart):
    """One point for each row."""

    type: Literal["point"]
    x: StrictStr
    y: StrictStr
    color: StrictStr | None = None
    size: StrictStr | None = None
    tooltip: list[StrictStr] = Field(default_factory=list, description="More columns to show at a point.")


class HeatmapConfig(_QueryChart):
    """A coloured cell for each pair of categories."""

    type: Literal["heatmap"]
    x: StrictStr
    y: StrictStr
    color: StrictStr = Field(description="Column of the values.")
    format: NumberFormat | None = None


class BoxConfig(_QueryChart):
    """Median, quartiles and extent of `y` for each category in `x`."""

    type: Literal["box"]
    x: StrictStr
    y: StrictStr


class KpiConfig(_QueryChart):
    """One number, large: the first row's `value`."""

    type: Literal["kpi"]
    value: StrictStr
    compare: StrictStr | None = Field(default=None, description="Column of the value that it is compared with.")
    better: Literal["higher", "lower"] | None = Field(default=None, description="Which change is shown as good news.")
    note: StrictStr | None = Field(default=None, description="Column of a line of small print.")
    format: NumberFormat | None = None


class TableConfig(_QueryChart):
    """Rows as they are."""

    type: Literal["table"]
    columns: list[StrictStr] | None = Field(
        default=None, description="Which columns, and in what order; all by default."
    )
    labels: dict[StrictStr, StrictStr] = Field(default_factory=dict, description="Headings by column.")
    formats: dict[StrictStr, NumberFormat] = Field(default_factory=dict, description="Formats by column.")
    rows: int = Field(default=50, ge=1, le=10_000, description="Most rows shown.")


class TextConfig(_ChartConfig):
    """Markdown. With a query, `{{ column }}` stands for the value in its first row."""

    type: Literal["text"]
    markdown: StrictStr
    query: Name | None = None


class VegaConfig(_QueryChart):
    """A Vega-Lite specification; the query's rows are its data."""

    type: Literal["vega"]
    spec: dict[str, Any]

    @model_validator(mode="after")
    def _no_data_of_its_own(self) -> VegaConfig:
        reached = [url for url in _urls(self.spec) if not url.startswith("data:")]
        if reached:
            raise ValueError(f"a report reaches nothing outside of it; take {reached[0]!r} out of the spec")
        return self


def _urls(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [value for key, value in node.items() if key == "url" and isinstance(value, str)]
        return own + [url for value in node.values() for url in _urls(value)]
    if isinstance(node, list):
        return [url for value in node for url in _urls(value)]
    return []


ChartConfig = Annotated[
    BarConfig
    | LineConfig
    | AreaConfig
    | HistogramConfig
    | PointConfig
    | HeatmapConfig
    | BoxConfig
    | KpiConfig
    | TableConfig
    | TextConfig
    | VegaConfig,
    Field(discriminator="type"),
]


# ---- layout


class Row(Config):
    """Things side by side; one below the other on a narrow screen."""

    row: list[LayoutNode] = Field(min_length=1)


class Column(Config):
    """Things one below the other."""

    column: list[LayoutNode] = Field(min_length=1)


class Tabs(Config):
    """Things behind each other, by title."""

    tabs: dict[StrictStr, list[LayoutNode]] = Field(min_length=1)


class Heading(Config):
    """A heading between charts."""

    heading: StrictStr


def _kind_of_node(node: object) -> str:
    kinds: dict[str, type[Config]] = {"row": Row, "column": Column, "tabs": Tabs, "heading": Heading}
    if isinstance(node, dict):
        return next((kind for kind in kinds if kind in node), "row")
    return next((kind for kind, model in kinds.items() if isinstance(node, model)), "chart")


LayoutNode = Annotated[
    Annotated[Name, Tag("chart")]
    | Annotated[Row, Tag("row")]
    | Annotated[Column, Tag("column")]
    | Annotated[Tabs, Tag("tabs")]
    | Annotated[Heading, Tag("heading")],
    Discriminator(_kind_of_node),
]


def _one_dataset() -> dict[str, SourceConfig]:
    return {"data": DatasetSourceConfig()}


class ReportSpec(Config):
    """A whole report."""

    title: StrictStr = "Report"
    description: StrictStr = ""
    sources: dict[Name, SourceConfig] = Field(
        default_factory=_one_dataset, min_length=1, description="By default one dataset, called `data`."
    )
    variables: dict[Name, Variable] = Field(default_factory=dict)
    queries: dict[Name, QueryConfig] = Field(default_factory=dict)
    charts: dict[Name, ChartConfig] = Field(min_length=1)
    layout: list[LayoutNode] = Field(default_factory=list, description="By default the charts one below the other.")

    def values(self, given: dict[str, object] | None = None) -> dict[str, Value | list[Value] | None]:
        """The value of every variable: what is given, else its default.

        Raises:
            ConfigError: a name is unknown or a value does not fit; every problem is listed.
        """
        given = given or {}
        problems = [f"variables.{name}: there is no such variable" for name in given if name not in self.variables]
        values: dict[str, Value | list[Value] | None] = {}
        for name, variable in self.variables.items():
            try:
                values[name] = variable.parse(given.get(name, variable.default))
            except ValueError as error:
                problems.append(f"variables.{name}: {error}")
        if problems:
            raise ConfigError("; ".join(problems), problems=problems)
        return values

    def query_of(self, chart: str) -> str | None:
        """Name of the query that a chart waits for: its own name where the query stands in the chart."""
        config = self.charts[chart]
        if isinstance(config, TextConfig):
            return config.query
        return config.query or chart

    def all_queries(self) -> dict[str, QueryConfig]:
        """Named queries, and those that stand in charts under the name of their chart."""
        inside = {
            name: QueryConfig(sql=config.sql, source=config.source)
            for name, config in self.charts.items()
            if not isinstance(config, TextConfig) and config.sql is not None
        }
        return {**self.queries, **inside}
