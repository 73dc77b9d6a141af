"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from prefect_datagen.config.run import RunConfig

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file that describes the dataset.")]
NumRecords = Annotated[int, typer.Option("-n", "--num-records", min=0, help="Rows to make.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Run seed; the same seed gives the same sampled values.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a field of the config (columns[review].prompt=...), or of the run (run.max_retries=5). Repeatable.",
    ),
]


def split_settings(settings: list[str] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """`--set` options as (fields of the config, fields of the run); values are read as YAML.

    Raises:
        ConfigError: one is not KEY=VALUE.
    """
    import yaml

    from prefect_datagen.engine.errors import ConfigError

    config: dict[str, Any] = {}
    run: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {setting!r}: expected KEY=VALUE, such as --set run.max_retries=5")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        if key.startswith("run."):
            run[key.removeprefix("run.")] = value
        else:
            config[key] = value
    return config, run


def make_run(settings: dict[str, Any], **options: Any) -> RunConfig:
    """Run settings from options (None: not given) and `--set run.` settings.

    Raises:
        ConfigError: every wrong one, named as it was written.
    """
    from pydantic import ValidationError

    from prefect_datagen.config.problems import from_validation_error
    from prefect_datagen.config.run import RunConfig
    from prefect_datagen.engine.errors import ConfigError

    values = {name: value for name, value in options.items() if value is not None} | settings
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        problems = [problem.text() for problem in from_validation_error(error, ("run",), values)]
        raise ConfigError("\n".join(problems), problems=problems) from error
