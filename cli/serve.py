"""`prefect-datagen serve`: the results server."""

from __future__ import annotations

from pathlib import Path

import click

from prefect_datagen.server.settings import (
    STARTUP_TIMEOUT,
    STARTUP_TIMEOUT_VARIABLE,
    ServerSettings,
    parse_startup_timeout,
)


@click.command()
@click.argument(
    "directory", type=click.Path(path_type=Path), metavar="DIR", help="Dataset to show; it may still be being built."
)
@click.option("--base", type=click.Path(path_type=Path), help="Dataset to compare it with.")
@click.option("--report", type=click.Path(path_type=Path), multiple=True, help="A report file; may be given again.")
@click.option("--watch", is_flag=True, help="Show row groups as they are committed.")
@click.option("--host", default="127.0.0.1", help="Address to listen on; any but loopback needs a token.")
@click.option("--port", type=int, default=8085, help="Port to listen on; 0 for any that is free.")
@click.option("--token", envvar="PREFECT_DATAGEN_TOKEN", show_envvar=True, help="Secret that clients must show.")
@click.option("--allowed-host", multiple=True, help="Further name of this server, behind a proxy; may be given again.")
@click.option(
    "--startup-timeout",
    default=str(STARTUP_TIMEOUT),
    envvar=STARTUP_TIMEOUT_VARIABLE,
    help="Seconds from process start that loading may take.",
)
def serve(
    directory: Path,
    base: Path | None,
    report: tuple[Path, ...],
    watch: bool,
    host: str,
    port: int,
    token: str | None,
    allowed_host: tuple[str, ...],
    startup_timeout: str,
) -> None:
    """Show a dataset in the browser: its automatic report, your reports, its rows, and how it differs from another."""
    from prefect_datagen.server.run import run

    run(
        ServerSettings(
            current=directory,
            base=base,
            reports=report,
            watch=watch,
            host=host,
            port=port,
            token=token,
            allowed_hosts=allowed_host,
            startup_timeout=parse_startup_timeout(startup_timeout),
        )
    )
