"""`prefect-datagen validate`: every problem of a config at once; no model is called."""

from __future__ import annotations

from pathlib import Path

import click

from prefect_datagen.cli.options import config_file, settings_option, split_settings


@click.command()
@config_file
@settings_option
def validate(config: Path, settings: tuple[str, ...]) -> None:
    """Check CONFIG: fields, references, cycles, templates, aliases, seed data. Exit code 2 where it is wrong.

    Example: prefect-datagen validate dataset.yaml
    """
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.engine.errors import ConfigError

    loaded = DatasetConfig.load(Path(config), overrides=split_settings(settings)[0])
    if loaded.seed_config is not None:
        from prefect_datagen.seeds.reader import check_seed_rows

        try:
            check_seed_rows(loaded.seed_config, base_dir=loaded.folder)
        except ConfigError as error:
            raise ConfigError(f"the config is wrong:\n  {config}: seed_config: {error.message}") from error
    models = f", {len(loaded.model_configs)} models" if loaded.model_configs else ""
    click.echo(f"{config}: right ({len(loaded.columns)} columns{models})")
