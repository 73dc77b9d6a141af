"""Seed rows out of files on Hugging Face, or wherever fsspec reaches."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_serializer

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedSource, SeedTable
from prefect_datagen.seeds.files import SeedFile
from prefect_datagen.seeds.local import files_table

# Tokens of the hub start with `hf_`: never the name of a variable.
_VARIABLE = re.compile(r"(?!hf_)[A-Za-z_]\w*")


class HuggingFaceSeedSource(SeedSource):
    """Rows of files on Hugging Face, or at any other URL that fsspec knows (`s3://`, `gs://`, `https://`, ...)."""

    seed_type: Literal["hf"] = "hf"
    path: str = Field(
        min_length=1,
        description="Such as datasets/name/dataset/data/*.parquet, or a URL with its protocol. Wildcards are allowed.",
    )
    token: str | None = Field(
        default=None, description="Name of the environment variable that holds the access token, not the token itself."
    )
    endpoint: str | None = Field(default=None, description="Base URL of the hub, where it is not the public one.")

    @field_serializer("token")
    def _store_names_only(self, token: str | None) -> str | None:
        return token if token is None or _VARIABLE.fullmatch(token) else "(not stored)"

    def open(self, base_dir: Path) -> SeedTable:
        """The rows of the files, in the order of their paths. Parquet is read by ranges, text is streamed once."""
        del base_dir
        return files_table(self._files())

    def locations(self, base_dir: Path) -> list[str]:
        """The pattern, at the hub where it has no protocol."""
        return [self.path if "://" in self.path else f"hf://{self.path}"]

    def _files(self) -> list[SeedFile]:
        protocol, _, rest = self.path.rpartition("://")
        filesystem = _filesystem(protocol or "hf", self._options() if protocol in ("", "hf") else {})
        path = rest if protocol in ("", "hf") else filesystem._strip_protocol(self.path)
        try:
            if re.search(r"[*?\[]", path):
                found = filesystem.glob(path)
            else:
                found = [path] if filesystem.exists(path) else []
        except Exception as error:  # each of fsspec's file systems has errors of its own
            raise ConfigError(f"seed path {self.path!r}: {type(error).__name__}: {error}") from error
        if not found:
            raise ConfigError(f"seed path {self.path!r}: no file found")
        return [SeedFile(item, filesystem) for item in sorted(found)]

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {} if self.endpoint is None else {"endpoint": self.endpoint}
        if self.token is not None:
            # Not when the model is validated: pydantic's errors show the value, which would be the token.
            if not _VARIABLE.fullmatch(self.token):
                raise ConfigError("seed token: write the name of an environment variable, not the token itself")
            if self.token not in os.environ:
                raise ConfigError(f"seed token: environment variable {self.token!r} is not set")
            options["token"] = os.environ[self.token]
        return options


def _filesystem(protocol: str, options: dict[str, Any]) -> Any:
    import fsspec  # a tenth of a second that local files do not need

    try:
        return fsspec.filesystem(protocol, **options)
    except (ImportError, ValueError) as error:
        wanted = "pip install 'prefect-datagen[hf]'" if protocol == "hf" else "install the fsspec package for it"
        raise ConfigError(f"seed path with protocol {protocol}://: {error}; {wanted}") from error
