"""`prefect-datagen serve`: the results server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefect_datagen.server.settings import (
    STARTUP_TIMEOUT,
    STARTUP_TIMEOUT_VARIABLE,
    ServerSettings,
    parse_startup_timeout,
)


def serve(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset to show; it may still be being built.")],
    base: Annotated[Path | None, typer.Option(help="Dataset to compare it with.")] = None,
    report: Annotated[list[Path] | None, typer.Option(help="A report file; may be given again.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show row groups as they are committed.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any that is free.")] = 8085,
    token: Annotated[
        str | None,
        typer.Option(envvar="PREFECT_DATAGEN_TOKEN", help="Secret that clients must show.", show_envvar=True),
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="Further name of this server, behind a proxy; may be given again.")
    ] = None,
    startup_timeout: Annotated[
        str, typer.Option(envvar=STARTUP_TIMEOUT_VARIABLE, help="Seconds from process start that loading may take.")
    ] = str(STARTUP_TIMEOUT),
) -> None:
    """Show a dataset in the browser: its automatic report, your reports, its rows, and how it differs from another."""
    from prefect_datagen.server.run import run

    run(
        ServerSettings(
            current=directory,
            base=base,
            reports=tuple(report or ()),
            watch=watch,
            host=host,
            port=port,
            token=token,
            allowed_hosts=tuple(allowed_host or ()),
            startup_timeout=parse_startup_timeout(startup_timeout),
        )
    )
