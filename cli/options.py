"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from prefect_datagen.blocks.model_endpoint import ModelEndpoint
    from prefect_datagen.blocks.offline_model import OfflineModel
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.config.run import RunConfig

_Declare = Callable[[Callable[..., Any]], Callable[..., Any]]

config_file: _Declare = click.argument(
    "config", metavar="CONFIG", type=click.Path(path_type=Path), help="YAML file that describes the dataset."
)
seed_option: _Declare = click.option("--seed", type=int, help="Run seed; the same seed gives the same sampled values.")
row_group_size_option: _Declare = click.option(
    "--row-group-size",
    type=int,
    metavar="R",
    help="Rows per row group. [default: as in the dataset that is there; else 1000, or 250000 for nothing but samplers, "
    "expressions and SQL]",
)
settings_option: _Declare = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a field of the config (columns[review].prompt=...), or of the run (run.max_retries=5). Repeatable.",
)
offline_option: _Declare = click.option(
    "--offline", is_flag=True, help="Use the built-in offline model for every alias: no network, no key, no cost."
)
_endpoint_option: _Declare = click.option(
    "--endpoint", metavar="URL", help="Use this OpenAI-compatible base URL for every provider."
)
_api_key_option: _Declare = click.option(
    "--api-key-env", metavar="NAME", help="With --endpoint: environment variable that holds the key."
)


def endpoint_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which endpoints stand for the config's own: what `make_endpoints` takes."""
    return offline_option(_endpoint_option(_api_key_option(command)))


def num_records_option(*, default: int | None = None) -> _Declare:
    """The rows to make; required where there is no default."""
    return click.option(
        "-n",
        "--num-records",
        type=click.IntRange(min=0),
        required=default is None,
        default=default,
        help="Rows to make.",
    )


def split_settings(settings: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`--set` options as (fields of the config, fields of the run); values are read as YAML.

    Raises:
        ConfigError: one is not KEY=VALUE.
    """
    import yaml

    from prefect_datagen.engine.errors import ConfigError

    config: dict[str, Any] = {}
    run: dict[str, Any] = {}
    for setting in settings:
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


def make_endpoints(
    config: DatasetConfig, *, offline: bool, url: str | None, api_key_variable: str | None
) -> list[ModelEndpoint | OfflineModel]:
    """Blocks that stand for every provider that the config's models name, or none where the config's own are used.

    Raises:
        ConfigError: the options contradict each other, or the variable is not set.
    """
    import os

    from pydantic import SecretStr

    from prefect_datagen.blocks.model_endpoint import ModelEndpoint
    from prefect_datagen.blocks.offline_model import OfflineModel
    from prefect_datagen.engine.errors import ConfigError

    if offline and url:
        raise ConfigError("--offline and --endpoint contradict each other: give one of them")
    if api_key_variable and not url:
        raise ConfigError("--api-key-env goes with --endpoint")
    if api_key_variable and not os.environ.get(api_key_variable):
        raise ConfigError(f"--api-key-env: the environment variable {api_key_variable} is not set")
    names = sorted({endpoint.provider for model in config.model_configs for endpoint in model.all_endpoints()})
    if offline:
        return [OfflineModel(provider=name) for name in names]
    if url:
        key = SecretStr(os.environ[api_key_variable]) if api_key_variable else None
        return [ModelEndpoint(provider=name, base_url=url, api_key=key) for name in names]
    return []
