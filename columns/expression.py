"""`expression` columns: a Jinja2 template over the row's other columns, and what its text becomes.

Where all columns that it reads are filled a row group at a time, so is the expression; else it is made cell by cell.
Both give the same values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from prefect_datagen.columns.base import ColumnConfig, Reference, TemplateSkip
from prefect_datagen.columns.dtypes import parse_dtype
from prefect_datagen.columns.references import skip_value_problems, template_references
from prefect_datagen.columns.template import Template
from prefect_datagen.engine.arrays import pa

if TYPE_CHECKING:
    from prefect_datagen.columns.build import BuildContext
    from prefect_datagen.engine.node import ColumnNode

DType = Literal["int", "float", "str", "bool"]


class ExpressionColumnConfig(ColumnConfig):
    """A value computed from other columns by a template."""

    column_type: Literal["expression"] = "expression"
    expr: str = Field(description="Jinja2 template, such as `{{ first_name }} {{ last_name }}`.")
    dtype: DType = Field(default="str", description="What the rendered text becomes: int, float, str or bool.")

    @field_validator("expr")
    @classmethod
    def _says_something(cls, expr: str) -> str:
        if not expr.strip():
            raise ValueError(
                "an expression is a Jinja2 template such as '{{ price * quantity }}', and must not be empty"
            )
        return expr

    def references(self) -> Iterator[Reference]:
        """Columns that the template reads."""
        return template_references(self.expr, "expr")

    def templates(self) -> Iterator[tuple[str, str]]:
        """The expression."""
        yield "expr", self.expr

    def check(self) -> Iterator[tuple[str, str]]:
        """Whether the skip value is of the type."""
        return skip_value_problems(self, partial(parse_dtype, self.dtype))

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """int64, double, string or bool."""
        return (parse_dtype(self.dtype),)

    def build(self, context: BuildContext) -> ColumnNode:
        """A full column where all inputs are, else inline cells."""
        from prefect_datagen.columns.expression_generator import ExpressionGenerator
        from prefect_datagen.engine.node import INLINE, ColumnNode, Strategy

        template = Template(self.expr)
        whole = all(name in context.full_columns for name in template.references)
        return ColumnNode(
            name=self.name,
            produces=self.produces(),
            inputs=template.references,
            strategy=Strategy.FULL_COLUMN if whole else Strategy.CELL,
            resource=INLINE,
            generator=ExpressionGenerator(self.name, template, self.dtype, context.types),
            types=self.types(context.types),
            skip=None if self.skip is None else TemplateSkip(self.skip),
            propagate_skip=self.propagate_skip,
        )
