"""Sandboxed Jinja2 templates: what they read is known before they run, and strings stay strings.

Prior art for the guards: Jinja2's own `ImmutableSandboxedEnvironment` (no Python internals, no mutation). Added here: no
`range` larger than `MAX_RANGE`, no output larger than `MAX_OUTPUT` characters, an undefined name is an error, and no
loader, so that `include` and `import` reach no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from prefect_datagen.engine.errors import DatagenError

MAX_RANGE = 10_000
MAX_OUTPUT = 1_000_000


class TemplateError(DatagenError):
    """A template does not parse, reads what is not there, or does what the sandbox forbids."""


class _Environment(ImmutableSandboxedEnvironment):
    """Shared by all templates. Jinja2 compiles each template once; rendering is then plain Python."""

    intercepted_binops = frozenset({"**", "*"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse products and powers whose result would not fit a row."""
        if operator == "**" and (abs(right) > 1_000 or (abs(left) > 1e6 and abs(right) > 50)):
            raise TemplateError(f"{left!r} ** {right!r} is too large")
        if operator == "*" and max(_length(left) * _count(right), _length(right) * _count(left)) > MAX_OUTPUT:
            raise TemplateError(f"a repetition of more than {MAX_OUTPUT:,} characters")
        return super().call_binop(context, operator, left, right)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple)) else 0


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _bounded_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise TemplateError(f"range of {len(numbers):,} numbers; the limit is {MAX_RANGE:,}")
    return numbers


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    environment.globals = {"range": _bounded_range, "dict": dict}
    return environment


class Template:
    """A compiled template. `references` are the columns it reads, sorted.

    Raises:
        TemplateError: the text does not parse; `line` is its line within the text.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        environment = _environment()
        try:
            tree = environment.parse(text)
            self.references = tuple(sorted(meta.find_undeclared_variables(tree) - set(environment.globals)))
            self._compiled = environment.from_string(text)
        except TemplateSyntaxError as error:
            raise TemplateError(f"{error.message} (line {error.lineno})", line=error.lineno) from error
        self._constant = _constant_text(tree)
        self._root = self._compiled.root_render_func

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for one row.

        Raises:
            TemplateError: a name is undefined, the sandbox refused, or user data made an operation fail.
        """
        if self._constant is not None:
            return self._constant
        try:
            text = "".join(self._root(self._compiled.new_context(values)))
        except TemplateError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a template does with a row's values is about that row
            raise TemplateError(f"{type(error).__name__}: {error}") from error
        if len(text) > MAX_OUTPUT:
            raise TemplateError(f"rendered to {len(text):,} characters; the limit is {MAX_OUTPUT:,}")
        return text

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def _constant_text(tree: nodes.Template) -> str | None:
    """The text of a template that reads nothing, or None."""
    parts = [part for node in tree.body for part in (node.nodes if isinstance(node, nodes.Output) else [None])]
    if not all(isinstance(part, nodes.TemplateData) for part in parts):
        return None
    return "".join(part.data for part in parts if isinstance(part, nodes.TemplateData))
