"""What `prefect-datagen --help` shows, and what it is not waited for."""

from __future__ import annotations

import subprocess
import sys

_WITHOUT = ("typer", "pydantic", "prefect", "numpy", "pyarrow")


def test_commands_are_told_in_the_order_of_their_use_without_imports_of_work() -> None:
    program = (
        "import sys, atexit; from prefect_datagen.cli.main import main\n"
        f"atexit.register(lambda: print('imported', [name for name in {_WITHOUT} if name in sys.modules]))\n"
        "sys.argv = ['prefect-datagen', '--help']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    commands = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :] if line[2:3].isalpha()]
    assert commands[:5] == ["validate", "describe", "plan", "preview", "build"]
    assert "  validate    Check CONFIG: fields, references, cycles, templates, aliases," in lines
    assert lines[-1] == "imported []"
