"""Others that make the same calls: each in a virtual environment of its own, made on first use in `.venv-bench/`.

A peer that cannot be installed or does not run is left out, with a line that says why. Nothing is sent anywhere but to
the mock model: telemetry is off, and where a peer would fetch a tokenizer from the internet, words are counted instead.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".venv-bench"
PROGRAMS = Path(__file__).parent / "programs"
QUIET = {
    "NEMO_TELEMETRY_ENABLED": "false",
    "TELEMETRY_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "TQDM_DISABLE": "1",
}
"""Environment of every peer: no telemetry, no downloads, no progress bars."""


@dataclass(frozen=True)
class Peer:
    """A library and the program that uses it. `generator`: it makes datasets, too, and is not just a client."""

    name: str
    program: str
    needs: tuple[str, ...]
    generator: bool = True
    arguments: tuple[str, ...] = ()

    def command(self, *arguments: object) -> list[str]:
        """What runs the three cells of each row: URL, rows, calls in flight."""
        program = PROGRAMS / f"{self.program}.py"
        return [str(self._python), str(program), *self.arguments, *map(str, arguments)]

    @property
    def _python(self) -> Path:
        return ENVIRONMENTS / self.name / "bin" / "python"

    @cache  # noqa: B019 - a handful of frozen constants
    def missing(self) -> str | None:
        """Install it where it is not. Why it cannot be, or None."""
        ready = ENVIRONMENTS / self.name / ".ready"
        if ready.exists() and ready.read_text() == " ".join(self.needs):
            return None
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENTS / self.name)],
            [str(self._python), "-m", "pip", "install", "--quiet", *self.needs],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                last = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
                return f"`{' '.join(self.needs)}` cannot be installed: {last[-1]}"
        ready.write_text(" ".join(self.needs))
        return None


AIOHTTP = Peer("plain-aiohttp", "with_aiohttp", ("aiohttp",), generator=False)
DATA_DESIGNER = Peer("data-designer", "with_data_designer", ("data-designer",), arguments=("cells",))
DATA_DESIGNER_TABULAR = Peer("data-designer", "with_data_designer", ("data-designer",), arguments=("tabular",))
PEERS = (
    AIOHTTP,
    Peer("plain-httpx", "with_httpx", ("httpx",), generator=False),
    Peer("plain-openai", "with_openai", ("openai",), generator=False),
    DATA_DESIGNER,
    Peer("distilabel", "with_distilabel", ("distilabel[openai]", "requests")),
    Peer("bespokelabs-curator", "with_curator", ("bespokelabs-curator",)),
    Peer("accrue", "with_accrue", ("accrue",)),
)
