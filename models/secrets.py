"""Where keys come from: a config names an environment variable, or holds the key itself."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.models.config import MASK, names_variable


def resolve_secret(text: str, where: str, environ: Mapping[str, str]) -> SecretStr:
    """A secret from the variable that `text` names, or `text` itself. No message shows it; `where` stands before each.

    Raises:
        ConfigError: the variable is not set, or what stands there is a mask or a reference that nobody resolved.
    """
    if text in environ:
        secret = environ[text].strip()
        if not secret:
            raise ConfigError(f"{where}: the environment variable {text} is empty")
        return SecretStr(secret)
    if names_variable(text):
        raise ConfigError(f"{where}: the environment variable {text} is not set")
    if text == MASK:
        raise ConfigError(f"{where} was masked when this config was written: name an environment variable there")
    if "{{" in text:
        raise ConfigError(
            f"{where}: {text!r} refers to a block; such references are resolved by Prefect in deployments"
        )
    return SecretStr(text.strip())
