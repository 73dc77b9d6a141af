"""YAML as people write it: plain data, or where it stops being YAML."""

from __future__ import annotations

from typing import Any

import yaml

from prefect_datagen.engine.errors import ConfigError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml


def read_yaml(text: str, where: str) -> Any:
    """Plain data of a YAML document; `where` is what it came from.

    Raises:
        ConfigError: it is not YAML. Tells the line and why.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        pass
    try:
        return yaml.safe_load(text)  # says better than libyaml what is wrong
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
