"""What the command draws on a terminal, a real one of the kernel's: a bar while there is something to report, no more."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.reliability.configs import reviews
from tests.reliability.worlds import World

pytestmark = pytest.mark.usefixtures("prefect_api")


def on_a_terminal(words: list[str], environment: dict[str, str]) -> list[str]:
    """Run a command with a terminal as its standard streams; what it drew, line by line, without colours."""
    own, its = pty.openpty()
    process = subprocess.Popen(words, stdin=its, stdout=its, stderr=its, env=environment, close_fds=True)
    os.close(its)
    drawn = b""
    try:
        while chunk := os.read(own, 65536):
            drawn += chunk
    except OSError:  # the last one that had the other end has ended
        pass
    os.close(own)
    assert process.wait() == 0, drawn.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_a_bar_while_rows_are_made_nothing_after_it_and_none_where_nothing_is_to_do(
    world: World, api_url: str, tmp_path: Path
) -> None:
    world.server.become(latency_ms=20)
    file = tmp_path / "reviews.yaml"
    file.write_text(yaml.safe_dump(reviews(world.server.url)))
    words = [sys.executable, "-m", "prefect_datagen.cli.main", "build", str(file), "-n", "24", "-o", str(world.path)]
    words += ["--seed", "7", "--row-group-size", "6", "--set", "run.progress_interval=0.1"]
    environment = {**os.environ, "PREFECT_API_URL": api_url, "TERM": "xterm", "COLUMNS": "100"}
    lines = on_a_terminal(words, environment)
    bars = [at for at, line in enumerate(lines) if "24/24 rows" in line]
    assert bars, lines
    assert "100 %" in lines[bars[-1]]
    assert lines[bars[-1] + 1 :] == ["24 of 24 rows written (100.0 %)", f"complete: {world.path} (seed 7)"]
    again = on_a_terminal(words, environment)
    assert again[-2:] == lines[-2:]
    assert not any("%" in line and "/24 rows" in line for line in again)
    assert any("nothing to do" in line for line in again), again
