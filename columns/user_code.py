"""Functions that a user's config names: `package.module:function` and `path/to/file.py:function`.

A file is imported under a name of its own, made from its path, so that two configs may each have a `helpers.py`. It is
imported once, and again when the file has changed, so that the code that runs and the source that the fingerprint
covers are the same text.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import linecache
import re
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from prefect_datagen.engine.errors import ConfigError

_lock = threading.RLock()
_files: dict[Path, tuple[tuple[int, int], ModuleType]] = {}


def load_function(reference: str, base_dir: Path) -> Callable[..., Any]:
    """The function that `reference` names.

    Args:
        reference: `package.module:function` or `path/to/file.py:function`; `function` may be dotted (`Class.method`).
        base_dir: folder that relative paths start from; modules are looked for there, too.

    Raises:
        ConfigError: no such file, module or function, or importing it failed. Says what was tried.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise ConfigError(f"{reference!r} names no function: write package.module:function or path/to/file.py:function")
    with _lock:
        module = _load_file(reference, place, base_dir) if place.endswith(".py") else _load(reference, place, base_dir)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{reference!r}: {place} has no function {name!r}{_suggestion(name, module)}")
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"{reference!r}: {name!r} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]  # `callable` narrows Any to a callable of unknown result


def source_of(function: Callable[..., Any]) -> str:
    """Source text behind `function`, for fingerprints.

    The function's own text comes first, then that of the functions, classes and constants of the same module that it
    uses: a prompt in a module constant is as much the function as its body. What it imports from other modules is not
    followed. Where Python has no source for the function, the text of its module's file is given.

    Raises:
        ConfigError: there is no source at all (a function of C, or one typed into a prompt).
    """
    while isinstance(function, partial):
        function = function.func
    start: Any = inspect.unwrap(function)
    if not (inspect.isroutine(start) or inspect.isclass(start)):
        start = type(start)  # an object with __call__
    try:
        return "\n".join(_texts(start))
    except (OSError, TypeError):
        file = getattr(sys.modules.get(getattr(start, "__module__", "")), "__file__", None)
        if file is None or not file.endswith(".py"):
            raise ConfigError(f"no source code is to be found for {function!r}: put it into a module") from None
        return Path(file).read_text(encoding="utf-8")


def _load_file(reference: str, place: str, base_dir: Path) -> ModuleType:
    path = (base_dir / Path(place).expanduser()).resolve()
    if not path.is_file():
        raise ConfigError(f"{reference!r}: no file {place!r} (tried {path})")
    stat = path.stat()
    identity = (stat.st_mtime_ns, stat.st_size)
    known = _files.get(path)
    if known is not None and known[0] == identity:
        return known[1]
    name = f"_datagen_{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{reference!r}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses, pydantic and pickle look a class's module up by name
    try:
        # Not through the loader: its bytecode cache tells versions of a file apart by whole seconds.
        text = path.read_bytes()
        exec(compile(text, str(path), "exec"), module.__dict__)
    except Exception as error:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        raise ConfigError(f"{reference!r}: importing {path} failed: {type(error).__name__}: {error}") from error
    # An entry without a time is never refreshed from disk: `source_of` gives the text that runs.
    linecache.cache[str(path)] = (len(text), None, text.decode("utf-8").splitlines(keepends=True), str(path))
    _files[path] = (identity, module)
    return module


def _load(reference: str, name: str, base_dir: Path) -> ModuleType:
    beside = base_dir / f"{name}.py"
    if "." not in name and name not in sys.modules and beside.is_file():
        return _load_file(reference, str(beside), base_dir)
    folder = str(base_dir.resolve())
    # At the end: a `json.py` in the user's folder must not stand in for the standard library's.
    added = folder not in sys.path
    if added:
        sys.path.append(folder)
    try:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"{reference!r}: importing {name} failed: {error}") from error
        raise ConfigError(
            f"{reference!r}: no module {error.name!r} (tried the installed packages and {folder})"
        ) from error
    except Exception as error:
        raise ConfigError(f"{reference!r}: importing {name} failed: {type(error).__name__}: {error}") from error
    finally:
        if added:
            sys.path.remove(folder)


def _suggestion(name: str, module: ModuleType) -> str:
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    close = difflib.get_close_matches(name, functions, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it has {', '.join(sorted(functions))}" if functions else ""


def _texts(start: Any) -> Iterator[str]:
    """Text of `start`, then that of each top-level definition of its module that it uses, directly or through another.

    Only text is looked at, never values: a constant that is filled while the run goes on keeps its text.
    """
    module = inspect.getmodule(start)
    definitions = _definitions(inspect.getsource(module)) if module is not None else {}
    root = start.__qualname__.partition(".")[0]  # of a method, the class: it may use the others
    waiting = [definitions.pop(root, None) or textwrap.dedent(inspect.getsource(start))]
    while waiting:
        text = waiting.pop(0)
        yield text
        used = sorted(_names(text) & definitions.keys())
        waiting.extend(definitions.pop(name) for name in used)


def _definitions(source: str) -> dict[str, str]:
    """Text of each function, class and assignment at a module's top level, by name, decorators included."""
    lines = source.splitlines()
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", ()))])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[node.name] = text
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            names = (
                item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)
            )
            found |= {name: "\n".join(filter(None, (found.get(name), text))) for name in names}
    return found


def _names(text: str) -> set[str]:
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda's text is the line it stands on, which need not be a statement
        return set(re.findall(r"[^\W\d]\w*", text))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
