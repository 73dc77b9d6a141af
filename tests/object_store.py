"""An S3 server in a process of its own, spoken to over HTTP: moto's."""

from __future__ import annotations

import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec

from tests.prefect.server import free_port, wait_for


@dataclass(frozen=True)
class ObjectStore:
    """A running server.

    Attributes:
        options: what fsspec needs to reach it, the `storage_options` of a sink.
    """

    options: dict[str, Any]

    def new_url(self) -> str:
        """Where nothing is yet: in a bucket of its own."""
        bucket = f"bucket-{uuid.uuid4().hex}"
        fsspec.filesystem("s3", **self.options).mkdir(bucket)
        return f"s3://{bucket}/dataset"


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server that runs until the end of the block."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: process.poll() is not None or _listens(port), timeout=300, what="the S3 server")
        assert process.poll() is None, "the S3 server ended"
        yield ObjectStore({"key": "key", "secret": "secret", "endpoint_url": f"http://127.0.0.1:{port}"})
    finally:
        process.terminate()
        process.wait(timeout=60)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
