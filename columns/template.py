"""Sandboxed Jinja2 templates: what they read is known before they run, and strings stay strings.

Prior art for the guards: Jinja2's own `ImmutableSandboxedEnvironment` (no Python internals, no mutation). Added here:
no `range` larger than `MAX_RANGE`, no more than `MAX_STEPS` rounds of loops and macros in one rendering, no text larger than
`MAX_OUTPUT` characters by padding, repeating, replacing, joining or rendering (counted on the way, so that a text that
doubles itself ends at the limit), an undefined name is an error, and no loader, so that `include`
and `import` reach no file.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2 import Template as CompiledTemplate
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from prefect_datagen.engine.errors import DatagenError

MAX_RANGE = 10_000
MAX_OUTPUT = 1_000_000
MAX_STEPS = 100_000

_TICK = "datagen_tick"
_JOIN = "datagen_join"
_WEIGH = "datagen_weigh"
# A width or precision in a format that is taken from an argument, or of millions.
_WIDE = re.compile(r"%[-+ #0]*[0-9]*\.?(?:[0-9]{7,}|[*])|\{[^{}]*:[^{}]*(?:[0-9]{7,}|\{)")
_PADDING = frozenset(
    {"batch", "center", "expandtabs", "indent", "ljust", "rjust", "slice", "tojson", "wordwrap", "zfill"}
)
_SIZED = _PADDING | {"format", "join", "replace"}


class TemplateError(DatagenError):
    """A template does not parse, reads what is not there, or does what the sandbox forbids."""


class _Environment(ImmutableSandboxedEnvironment):
    """Shared by all templates. Jinja2 compiles each template once; rendering is then plain Python."""

    intercepted_binops = frozenset({"**", "*", "+", "%"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The tree, with a tick at the start of every loop's and macro's body."""
        tree = super()._parse(source, name, filename)
        bodies: list[nodes.For | nodes.Macro] = [*tree.find_all(nodes.For), *tree.find_all(nodes.Macro)]
        for body in bodies:
            tick = nodes.ExprStmt(nodes.Call(nodes.Name(_TICK, "load"), [], [], None, None))
            body.body.insert(0, tick.set_lineno(body.lineno))
        bounded: nodes.Template = _Bounds(weigh=tree.find(nodes.Assign) is not None).visit(tree)
        return bounded

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """What a macro, a block or a whole template made, within bounds."""
        return _joined(parts)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`format` and `format_map` of text, within bounds."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _check_sizes("format", value.__self__)
        return wrapped

    def call(self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse methods of text whose result would not fit a row."""
        text = getattr(__obj, "__self__", None)
        if isinstance(text, str):
            _check_sizes(__obj.__name__, text, *args, *kwargs.values())
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse products and powers whose result would not fit a row."""
        if operator == "**" and (abs(right) > 1_000 or (abs(left) > 1e6 and abs(right) > 50)):
            raise TemplateError(f"{left!r} ** {right!r} is too large")
        if operator == "*" and max(_length(left) * _count(right), _length(right) * _count(left)) > MAX_OUTPUT:
            raise TemplateError(f"a repetition of more than {MAX_OUTPUT:,} characters")
        if operator == "+" and _length(left) + _length(right) > MAX_OUTPUT:
            raise TemplateError(f"a sum of more than {MAX_OUTPUT:,} characters")
        if operator == "%" and isinstance(left, str):
            _check_sizes("format", left)
        return super().call_binop(context, operator, left, right)


class _Bounds(NodeTransformer):
    """Lets functions of ours do what Jinja2 compiles to plain Python: `~`, and, where names are set, lists and mappings
    (`{% set x = [x, x] %}` doubles what `{{ x }}` shows)."""

    def __init__(self, *, weigh: bool) -> None:
        self._weigh = weigh

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - the name that Jinja2 looks for
        """`a ~ b ~ c`."""
        self.generic_visit(node)
        return _call(_JOIN, node.nodes, node)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        """`[a, b]`."""
        self.generic_visit(node)
        return _call(_WEIGH, [node], node) if self._weigh else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        """`{a: b}`."""
        self.generic_visit(node)
        return _call(_WEIGH, [node], node) if self._weigh else node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """`(a, b)`, where it is not a target."""
        self.generic_visit(node)
        return _call(_WEIGH, [node], node) if self._weigh and node.ctx == "load" else node


def _call(name: str, arguments: list[nodes.Expr], at: nodes.Node) -> nodes.Node:
    return nodes.Call(nodes.Name(name, "load"), arguments, [], None, None).set_lineno(at.lineno, override=True)


def _join(*values: Any) -> str:
    return _joined(map(str, values))


def _joined(parts: Iterable[str]) -> str:
    """The parts as one text.

    Raises:
        TemplateError: they are more than `MAX_OUTPUT`; nothing is made beyond it.
    """
    kept: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_OUTPUT:
            raise TemplateError(f"rendered to more than {MAX_OUTPUT:,} characters")
        kept.append(part)
    return "".join(kept)


def _weigh(value: Any) -> Any:
    """A value that does not show as more than `MAX_OUTPUT` characters."""
    left, size = [value], 0
    while left:
        one = left.pop()
        size += 1 + len(one) if isinstance(one, str) else 1
        if size > MAX_OUTPUT:
            raise TemplateError(f"a value of more than {MAX_OUTPUT:,} characters")
        if isinstance(one, Mapping):
            left.extend(one.keys())
            left.extend(one.values())
        elif isinstance(one, (list, tuple)):
            left.extend(one)
    return value


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple)) else 0


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _check_sizes(name: str, text: Any, *arguments: Any) -> None:
    """Refuse what would make a text, or a list, of more than `MAX_OUTPUT`.

    Raises:
        TemplateError: it would.
    """
    numbers = [each for each in arguments if isinstance(each, (int, float))]
    if name in _PADDING and any(abs(number) > MAX_OUTPUT for number in numbers):
        raise TemplateError(f"{name} by more than {MAX_OUTPUT:,}")
    texts = [each for each in arguments if isinstance(each, str)]
    if name == "replace" and len(texts) > 1:
        found = str(text).count(texts[0]) if texts[0] else len(str(text)) + 1
        if found * len(texts[1]) > MAX_OUTPUT:
            raise TemplateError(f"a replacement of more than {MAX_OUTPUT:,} characters")
    if name in ("join", "translate") and len(str(text)) * max(map(_length, arguments), default=0) > MAX_OUTPUT:
        raise TemplateError(f"{name} of more than {MAX_OUTPUT:,} characters")
    if name == "format" and _WIDE.search(str(text)):
        raise TemplateError(f"a format with a width that is not bounded: {str(text)[:40]!r}")


def _bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that looks at the sizes of what it is given."""
    passed = int(hasattr(function, "jinja_pass_arg"))  # context or environment come before the value

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _check_sizes(name, *args[passed:], *kwargs.values())
        return function(*args, **kwargs)

    return bounded


class _Steps(threading.local):
    """Rounds of loops and macros in this thread's rendering, and how many there may be."""

    left = MAX_STEPS

    def tick(self) -> None:
        """One more.

        Raises:
            TemplateError: that was the last one.
        """
        self.left -= 1
        if self.left < 0:
            raise TemplateError(f"more than {MAX_STEPS:,} rounds of loops and macros")


_steps = _Steps()


def _bounded_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise TemplateError(f"range of {len(numbers):,} numbers; the limit is {MAX_RANGE:,}")
    return numbers


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    environment.globals = {
        "range": _bounded_range,
        "dict": dict,
        _TICK: _steps.tick,
        _JOIN: _join,
        _WEIGH: _weigh,
    }
    environment.filters = environment.filters | {
        name: _bounded_filter(name, environment.filters[name]) for name in _SIZED & set(environment.filters)
    }
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
            self._compiled = _with_plain_globals(environment.from_string(tree))
        except TemplateSyntaxError as error:
            raise TemplateError(f"{error.message} (line {error.lineno})", line=error.lineno) from error
        self._constant = _constant_text(tree)
        self._root = self._compiled.root_render_func
        # As the body of a loop a template means the same, but for blocks, macros, imports, and columns of these names.
        reserved = {"loop", _ROWS, _END} & set(self.references)
        self._may_loop = not reserved and all(tree.find(kind) is None for kind in _NOT_IN_LOOPS)
        self._loop: CompiledTemplate | None = None

    def tree(self) -> nodes.Template:
        """What was parsed."""
        return _environment().parse(self.text)

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for one row.

        Raises:
            TemplateError: a name is undefined, the sandbox refused, or user data made an operation fail.
        """
        if self._constant is not None:
            return self._constant
        _steps.left = MAX_STEPS
        try:
            return _joined(self._root(self._compiled.new_context(values)))  # type: ignore[arg-type]  # it is only read
        except TemplateError:
            raise
        except Exception as error:  # whatever a template does with a row's values is about that row
            raise TemplateError(f"{type(error).__name__}: {error}") from error

    def render_rows(self, columns: Mapping[str, Sequence[Any]], rows: int) -> list[str | TemplateError]:
        """The text of each row, shape `(rows,)`, or why there is none; the same as `render` row by row.

        `columns` holds the values of each of `references`, shape `(rows,)` each. Ten times as fast as `render`: Jinja2
        spends most of its time on setting up a rendering, so the template is compiled as the body of a loop over rows.
        """
        if self._constant is not None:
            return [self._constant] * rows
        values = list(zip(*(columns[name] for name in self.references), strict=True))
        if self.references and self._may_loop:
            texts = self._render_loop(values)
            if texts is not None:
                return texts
        return [self._render_or_error(dict(zip(self.references, row, strict=True))) for row in values or [()] * rows]

    def _render_or_error(self, values: Mapping[str, Any]) -> str | TemplateError:
        try:
            return self.render(values)
        except TemplateError as error:
            return error

    def _render_loop(self, values: Sequence[tuple[Any, ...]]) -> list[str | TemplateError] | None:
        """All rows in one rendering, or None where a row fails: then each one is rendered for itself."""
        if self._loop is None:
            self._loop = _compile_loop(self.text, self.references)
        texts: list[str | TemplateError] = []
        pieces: list[str] = []
        size = 0
        _steps.left = MAX_STEPS
        try:
            for piece in self._loop.root_render_func(self._loop.new_context({_ROWS: values, _END: _END_OF_ROW})):
                if piece is _END_OF_ROW:  # by identity: no text of a row can be taken for it
                    _steps.left = MAX_STEPS
                    texts.append("".join(pieces))
                    pieces.clear()
                    size = 0
                else:
                    size += len(piece)
                    if size > MAX_OUTPUT:
                        return None
                    pieces.append(piece)
        except Exception:  # noqa: BLE001 - the row that failed says why when it is rendered by itself
            return None
        return texts

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


_ROWS = "datagen_rows"
_END = "datagen_end_of_row"
_END_OF_ROW = "".join(["\x00", "end of row"])  # a string object of its own, equal to no other by identity
_NOT_IN_LOOPS: tuple[type[nodes.Node], ...] = (
    nodes.Block,
    nodes.Extends,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Macro,
    nodes.CallBlock,
)


def _compile_loop(text: str, references: Sequence[str]) -> CompiledTemplate:
    """`{% for a, b in rows %}text{{ end }}{% endfor %}`, put together as a tree: the text may hold anything."""
    environment = _environment()
    body = [*environment.parse(text).body, nodes.Output([nodes.Name(_END, "load")])]
    target = nodes.Tuple([nodes.Name(name, "store") for name in references], "store")
    loop = nodes.For(target, nodes.Name(_ROWS, "load"), body, [], None, False)
    tree = nodes.Template([loop])
    tree.set_lineno(1).set_environment(environment)
    return CompiledTemplate.from_code(environment, environment.compile(tree), environment.globals)


def _with_plain_globals(compiled: CompiledTemplate) -> CompiledTemplate:
    """Jinja2 chains a template's own globals before the environment's, and walks the chain in every rendering: a third of
    a short template's time. Ours are never changed, so a plain dict says the same."""
    compiled.globals = dict(compiled.globals)
    return compiled


def _constant_text(tree: nodes.Template) -> str | None:
    """The text of a template that reads nothing, or None."""
    parts = [part for node in tree.body for part in (node.nodes if isinstance(node, nodes.Output) else [None])]
    if not all(isinstance(part, nodes.TemplateData) for part in parts):
        return None
    return "".join(part.data for part in parts if isinstance(part, nodes.TemplateData))
