"""A PostgreSQL server in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.prefect.server import wait_for


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server on a socket in a new folder, which is its host name for clients; user `tester`, database `postgres`.

    Skips the test where no PostgreSQL is installed.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb") or (str(programs[-1] / "initdb") if programs else None)
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    identity: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        for parent in list(folder.parents)[:-2]:
            parent.chmod(parent.stat().st_mode | 0o055)
        identity |= {"user": "postgres", "group": "postgres", "extra_groups": []}
    program = Path(found).resolve().with_name("postgres")
    subprocess.run([found, "-D", "data", "-U", "tester", "-A", "trust"], check=True, **identity)
    server = subprocess.Popen(
        [program, "-D", "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"], **identity
    )

    def answers() -> bool:
        assert server.poll() is None, "PostgreSQL ended"
        try:
            psycopg.connect(f"user=tester dbname=postgres host={folder}").close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        wait_for(answers, timeout=300, what="PostgreSQL")
        yield str(folder)
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(60)
