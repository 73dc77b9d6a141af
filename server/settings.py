"""What the server was told on its command line, checked before the port opens."""

from __future__ import annotations

import ipaddress
import math
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

from prefect_datagen.engine.errors import ConfigError

STARTUP_TIMEOUT = 300.0
STARTUP_TIMEOUT_VARIABLE = "PREFECT_DATAGEN_STARTUP_TIMEOUT"


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The server's settings; a wrong one is refused with `ConfigError`.

    Attributes:
        current: dataset directory that is shown.
        base: dataset directory that it is compared with.
        reports: report files, each beside the automatic report.
        watch: whether row groups that are committed later appear by themselves.
        host: address to listen on.
        port: TCP port; 0 lets the system choose.
        token: secret that every client has to show; needed where `host` is not loopback.
        allowed_hosts: further names that a `Host` header may carry, for a server behind a proxy.
        startup_timeout: seconds from the process's start after which loading counts as failed.
    """

    current: Path
    base: Path | None = None
    reports: tuple[Path, ...] = ()
    watch: bool = False
    host: str = "127.0.0.1"
    port: int = 8085
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    startup_timeout: float = STARTUP_TIMEOUT

    def __post_init__(self) -> None:
        for directory in (self.current, self.base):
            if directory is not None and directory.exists() and not directory.is_dir():
                raise ConfigError(f"{str(directory)!r} is a file; give the directory of a dataset")
        for report in self.reports:
            if not report.is_file():
                raise ConfigError(f"there is no report file {str(report)!r}")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} is not between 0 and 65535")
        if not (math.isfinite(self.startup_timeout) and self.startup_timeout > 0):
            raise ConfigError(f"startup timeout {self.startup_timeout} is not a positive number of seconds")
        if self.token is not None and len(self.token) < 8:
            raise ConfigError("the token is too short to be a secret: give at least 8 characters")
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(
                f"listening on {self.host!r} lets other machines in: give --token (or listen on 127.0.0.1)"
            )

    def accepts_host(self, header: str) -> bool:
        """Whether a request's `Host` header names this server.

        A page of another site that made its own name resolve to this server (DNS rebinding) carries that name here.
        An address is never such a name, so addresses pass: any for a server that is open to others, loopback else.
        """
        name = _host_name(header)
        if name in {"localhost", self.host.lower(), *(host.lower() for host in self.allowed_hosts)}:
            return True
        if is_loopback(self.host):
            return is_loopback(name)
        return _is_address(name) or name == platform.node().lower()


def parse_startup_timeout(text: str) -> float:
    """Seconds, from the command line or the environment; text that is no number is refused."""
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            f"startup timeout {text!r} is not a number of seconds (--startup-timeout, {STARTUP_TIMEOUT_VARIABLE})"
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def process_started() -> float:
    """When this process started, on the clock of `time.monotonic()`; now, where the system does not tell."""
    now = time.monotonic()
    try:
        # Field 22 of /proc/self/stat, counted after the command name, which may hold spaces (man 5 proc).
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        return now
    return now - max(0.0, age)


def _host_name(header: str) -> str:
    """The name in a `Host` header, without its port and the brackets of an IPv6 address."""
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
