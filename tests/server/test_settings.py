"""Which names a server answers to, and when its process began."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from prefect_datagen.server.settings import ServerSettings, is_loopback, process_started


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("localhost", True),
        ("LocalHost:8085", True),
        ("127.0.0.1:1", True),
        ("[::1]:80", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_a_loopback_server_answers_to_loopback_names_only(tmp_path: Path, header: str, accepted: bool) -> None:
    assert ServerSettings(current=tmp_path).accepts_host(header) is accepted


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("10.0.0.1:8085", True),
        ("data.example", True),
        (f"{socket.gethostname()}:8085", True),
        ("evil.example", False),
    ],
)
def test_an_open_server_answers_to_addresses_and_its_own_names(tmp_path: Path, header: str, accepted: bool) -> None:
    settings = ServerSettings(
        current=tmp_path, host="0.0.0.0", token="long-enough-secret", allowed_hosts=("data.example",)
    )
    assert settings.accepts_host(header) is accepted


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(ServerSettings(current=Path("."), token="long-enough-secret"))


@pytest.mark.parametrize(("host", "loopback"), [("127.8.9.1", True), ("::1", True), ("0.0.0.0", False), ("x", False)])
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_the_process_began_before_now() -> None:
    began = process_started()
    assert began < time.monotonic()
    assert process_started() == pytest.approx(began, abs=5.0)
