"""`prefect-datagen`: the commands, and what every one of them has in common: exit codes and the shape of errors.

Exit codes: 0 everything asked for was done; 1 the run failed; 2 the config or the command line is wrong; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from prefect_datagen.cli.backfill import backfill
from prefect_datagen.cli.build import build
from prefect_datagen.cli.chain import chain
from prefect_datagen.cli.deploy import deploy
from prefect_datagen.cli.describe import describe
from prefect_datagen.cli.diff import diff
from prefect_datagen.cli.mock_model import mock_model
from prefect_datagen.cli.partitions import partitions
from prefect_datagen.cli.plan import plan
from prefect_datagen.cli.preview import preview
from prefect_datagen.cli.report import report
from prefect_datagen.cli.serve import serve
from prefect_datagen.cli.trace import trace
from prefect_datagen.cli.validate import validate

app = typer.Typer(
    name="prefect-datagen",
    help="Datasets as Prefect flows: declare columns, get committed row groups, lose nothing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: rich would take half the time of --help
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and Prefect's own log lines.")] = False,
) -> None:
    """Options of all commands."""
    if debug:
        os.environ["PREFECT_DATAGEN_DEBUG"] = "1"


for _command in (
    validate,
    describe,
    plan,
    preview,
    build,
    chain,
    backfill,
    partitions,
    deploy,
    trace,
    report,
    diff,
    serve,
    mock_model,
):
    _summary = (_command.__doc__ or "").partition("\n")[0]  # all of it: a summary that is not given is cut short
    app.command(_command.__name__.replace("_", "-"), short_help=_summary)(_command)


def main() -> None:
    """Run the command line; never returns."""
    from prefect_datagen.engine.errors import ConfigError, DatagenError, ResumeRefusedError, RunInterruptedError

    try:
        app()
    except DatagenError as error:
        if os.environ.get("PREFECT_DATAGEN_DEBUG"):
            raise
        sys.stderr.write(f"error: {error.message}\n")
        if isinstance(error, RunInterruptedError):
            sys.exit(130)
        sys.exit(2 if isinstance(error, (ConfigError, ResumeRefusedError)) else 1)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
