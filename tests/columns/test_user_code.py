"""Functions that a config names are found, imported once, and known by their source."""

from __future__ import annotations

import functools
import os
import pickle
from pathlib import Path

import pytest

from prefect_datagen.columns.user_code import load_function, source_of
from prefect_datagen.engine.errors import ConfigError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_reference_is_relative_to_the_base_dir(tmp_path: Path) -> None:
    write(tmp_path, "code/helpers.py", "def double(x):\n    return 2 * x\n")
    assert load_function("code/helpers.py:double", tmp_path)(21) == 42


def test_a_module_reference_finds_installed_modules_and_those_in_the_base_dir(tmp_path: Path) -> None:
    write(tmp_path, "own_helpers_a.py", "def name():\n    return 'own'\n")
    write(tmp_path, "own_package_a/inner.py", "from own_package_a.other import VALUE\ndef name():\n    return VALUE\n")
    write(tmp_path, "own_package_a/other.py", "VALUE = 'inner'\n")
    write(tmp_path, "own_package_a/__init__.py", "")
    assert load_function("os.path:join", tmp_path) is os.path.join
    assert load_function("own_helpers_a:name", tmp_path)() == "own"
    assert load_function("own_package_a.inner:name", tmp_path)() == "inner"


def test_two_folders_may_each_have_a_module_of_the_same_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path, f"{name}/helpers_b.py", f"def name():\n    return {name!r}\n")
    found = [load_function("helpers_b:name", tmp_path / name)() for name in ("one", "two")]
    assert found == ["one", "two"]


def test_a_file_in_the_base_dir_does_not_replace_the_standard_library(tmp_path: Path) -> None:
    write(tmp_path, "json.py", "def dumps(value):\n    return 'mine'\n")
    assert load_function("json:dumps", tmp_path)(1) == "1"


def test_a_file_is_imported_once_and_again_after_it_changed(tmp_path: Path) -> None:
    path = write(tmp_path, "counted.py", "def value():\n    return 'old'\n")
    first = load_function("counted.py:value", tmp_path)
    assert load_function("counted.py:value", tmp_path) is first
    path.write_text("def value():\n    return 'newer'\n", encoding="utf-8")
    second = load_function("counted.py:value", tmp_path)
    assert (second(), "newer" in source_of(second)) == ("newer", True)


def test_the_source_is_that_of_the_code_that_runs_even_if_the_file_changed_since(tmp_path: Path) -> None:
    path = write(tmp_path, "running.py", "def value():\n    return 'old'\n")
    function = load_function("running.py:value", tmp_path)
    path.write_text("def value():\n    return 'newer'\n", encoding="utf-8")
    assert "'old'" in source_of(function)


def test_classes_of_a_loaded_file_can_be_pickled(tmp_path: Path) -> None:
    text = "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\ndef make():\n    return Point(1)\n"
    write(tmp_path, "points.py", text)
    point = load_function("points.py:make", tmp_path)()
    assert pickle.loads(pickle.dumps(point)) == point


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("helpers.py", "names no function"),
        ("missing.py:f", "tried"),
        ("no_such_package_c.module:f", "no module 'no_such_package_c'"),
        ("helpers.py:dubble", "did you mean 'double'"),
        ("helpers.py:NUMBER", "is a int, not a function"),
        ("broken.py:f", "ZeroDivisionError"),
        ("syntax.py:f", "SyntaxError"),
        ("imports.py:f", "no_such_module_d"),
    ],
)
def test_a_reference_that_cannot_be_loaded_says_why(tmp_path: Path, reference: str, message: str) -> None:
    write(tmp_path, "helpers.py", "NUMBER = 1\ndef double(x):\n    return 2 * x\n")
    write(tmp_path, "broken.py", "1 / 0\n")
    write(tmp_path, "syntax.py", "def f(:\n")
    write(tmp_path, "imports.py", "import no_such_module_d\n")
    with pytest.raises(ConfigError, match=message):
        load_function(reference, tmp_path)


SOURCE = """
import functools
PROMPT = "be kind"
UNUSED = "x"
PROMPT += "!"

def helper(x):
    return PROMPT + x

def other(x):
    return x

def traced(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)
    return inner

@traced
def decorated(x):
    return helper(x)

class Shout:
    def __call__(self, x):
        return self.loud(x)
    def loud(self, x):
        return helper(x).upper()

shout = Shout()
short = lambda x: helper(x)
"""


@pytest.mark.parametrize("name", ["helper", "decorated", "shout", "short", "Shout.loud"])
def test_the_source_holds_what_the_function_uses_from_its_module_and_nothing_else(tmp_path: Path, name: str) -> None:
    write(tmp_path, "used.py", SOURCE)
    source = source_of(load_function(f"used.py:{name}", tmp_path))
    assert "PROMPT + x" in source
    assert 'PROMPT = "be kind"\nPROMPT += "!"' in source
    assert "UNUSED" not in source
    assert "def other" not in source
    assert ("@traced" in source) == (name == "decorated")


def test_the_source_of_a_partial_is_that_of_its_function(tmp_path: Path) -> None:
    write(tmp_path, "used.py", SOURCE)
    function = load_function("used.py:helper", tmp_path)
    assert source_of(functools.partial(function, "x")) == source_of(function)


def test_a_function_without_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="no source code"):
        source_of(len)


def test_a_function_made_at_run_time_is_known_by_its_modules_file(tmp_path: Path) -> None:
    text = "exec('def made(x):\\n    return x')\n"
    write(tmp_path, "made.py", text)
    assert source_of(load_function("made.py:made", tmp_path)) == text
