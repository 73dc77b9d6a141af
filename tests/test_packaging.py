"""The package as it is installed: the wheel holds exactly the code on disk, and imports are cheap."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import prefect_datagen

ROOT = Path(__file__).parents[1]
ROOMS = sorted(link.name for link in (ROOT / ".src" / "prefect_datagen").iterdir() if link.is_symlink())


def _code_on_disk() -> set[str]:
    files = {
        f"prefect_datagen/{path.relative_to(ROOT).as_posix()}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    own = (ROOT / ".src" / "prefect_datagen").glob("*")
    return files | {f"prefect_datagen/{path.name}" for path in own if path.is_file()}


def test_the_wheel_holds_exactly_the_code_on_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == _code_on_disk()


def test_every_room_is_linked_packed_and_banned_as_a_bare_import() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    banned = settings["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert {entry for entry in wheel["only-include"] if not entry.startswith(".src")} == set(ROOMS)
    assert {entry for entry in wheel["sources"] if entry != ".src/prefect_datagen"} == set(ROOMS)
    assert set(banned) == set(ROOMS)


def test_every_public_name_can_be_had() -> None:
    assert prefect_datagen.__all__ == sorted(prefect_datagen.__all__)
    assert set(prefect_datagen._HOMES) == set(prefect_datagen.__all__)
    for name in prefect_datagen.__all__:
        assert getattr(prefect_datagen, name).__name__ == name


def _modules_after(code: str) -> set[str]:
    code += "\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_else() -> None:
    loaded = _modules_after("import prefect_datagen")
    assert not loaded & {"prefect", "pandas", "pyarrow", "numpy", "pydantic", "duckdb"}


def test_the_command_line_and_the_config_do_not_import_prefect() -> None:
    loaded = _modules_after("import prefect_datagen.cli.main")
    assert not loaded & {"prefect", "pandas", "pyarrow", "numpy", "duckdb"}
    loaded = _modules_after(
        "from prefect_datagen.config.dataset import DatasetConfig; import prefect_datagen.config.plan"
    )
    assert not loaded & {"prefect", "pandas", "scipy", "faker"}


def test_a_check_of_a_config_imports_only_what_it_needs() -> None:
    example = ROOT / "examples" / "airports" / "dataset.yaml"
    loaded = _modules_after(
        f"from prefect_datagen.config.dataset import DatasetConfig; DatasetConfig.load({str(example)!r})"
    )
    assert not loaded & {"prefect", "pandas", "scipy", "duckdb", "aiohttp", "urllib.request", "http.client"}
    assert not loaded & {"asyncio", "ssl", "sqlite3", "filelock", "rich"}
    # Functions of all of Arrow's kernels, made by its import; Parquet with its file systems, for a seed of CSV.
    assert not loaded & {"pyarrow.compute", "pyarrow.parquet", "prefect_datagen.storage"}


def test_validate_needs_neither_numpy_nor_arrow_and_nothing_of_what_makes_rows() -> None:
    example = ROOT / "examples" / "airports" / "dataset.yaml"
    loaded = _modules_after(
        f"import sys; sys.argv[1:] = ['validate', {str(example)!r}]\n"
        "from prefect_datagen.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    assert "prefect_datagen.seeds.text" in loaded  # the rows of the seed were read
    assert not loaded & {"numpy", "pyarrow", "pandas"}
    made = {"engine.node", "engine.chat", "columns.sampling", "columns.chat_generator", "columns.expression_generator"}
    assert not loaded & {f"prefect_datagen.{name}" for name in made}


def test_a_check_of_a_config_imports_only_the_models_that_it_names() -> None:
    example = ROOT / "examples" / "airports" / "dataset.yaml"
    loaded = _modules_after(
        f"from prefect_datagen.config.dataset import DatasetConfig; DatasetConfig.load({str(example)!r})"
    )
    rooms = ("columns", "columns.samplers", "processors", "seeds")
    named = {room: {path.stem for path in (ROOT / room.replace(".", "/")).glob("*.py")} for room in rooms}
    found = {room: {name for name in named[room] if f"prefect_datagen.{room}.{name}" in loaded} for room in rooms}
    assert not found["columns"] & {"code", "custom", "embedding", "image", "inequalities", "judge", "sql"}
    assert not found["columns"] & {"media_contexts", "validation", "validators"}
    assert not found["columns.samplers"] & {"distributions", "identifiers", "numeric", "people"}
    assert not found["seeds"] & {"database", "dataset", "directory", "duckdb_query", "frame", "hugging_face"}
    assert not found["seeds"] & {"parquet", "stream"}
    assert found["processors"] <= {"__init__", "base", "config"}
    assert not loaded & {"prefect_datagen.config.checks", "prefect_datagen.models.tool_config"}


def test_a_command_imports_no_other_command() -> None:
    loaded = _modules_after(
        "import sys; sys.argv[1:] = ['validate', '--help']\n"
        "from prefect_datagen.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print()"
    )
    commands = {name for name in loaded if name.startswith("prefect_datagen.cli.")}
    assert commands == {f"prefect_datagen.cli.{name}" for name in ("main", "options", "validate")}


def test_help_imports_neither_rich_nor_what_commands_do() -> None:
    loaded = _modules_after(
        "import sys; sys.argv[1:] = ['--help']\n"
        "from prefect_datagen.cli.main import application\n"
        "application()(standalone_mode=False)\nprint()"
    )
    assert not loaded & {"rich", "prefect", "pydantic", "pyarrow", "numpy", "yaml", "asyncio"}


def test_rooms_import_only_from_rooms_below() -> None:
    """The order of floors of docs/architecture.md, checked on the import statements themselves."""
    import ast

    floors = [
        {"engine"},
        {"storage", "models"},
        {"columns"},
        {"seeds", "processors"},
        {"config"},
        {"blocks", "reports"},
        {"tasks"},
        {"flows", "server"},
        {"cli"},
    ]
    level = {room: at for at, rooms in enumerate(floors) for room in rooms}
    assert set(level) == set(ROOMS)
    wrong = []
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prefect_datagen."):
                    other = (node.module or "").split(".")[1]
                    if other in level and other != room and level[other] > level[room]:
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {node.module}")
    assert not wrong
