"""`prefect-datagen`: the commands, and what every one of them has in common: exit codes and the shape of errors.

Exit codes: 0 everything asked for was done; 1 the run failed; 2 the config or the command line is wrong; 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

import click

_COMMANDS = (  # in the order of the help; each is in a module of its name
    "validate",
    "describe",
    "plan",
    "preview",
    "build",
    "chain",
    "backfill",
    "partitions",
    "deploy",
    "trace",
    "report",
    "diff",
    "serve",
    "mock-model",
)

_QUICK = frozenset({"", "validate", "describe", "plan"})
"""Commands that look at a config and end; the empty name is the help's."""


class _InOrder(click.Group):
    """Shows its commands as they were added; click sorts them by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def application(*only: str) -> click.Group:
    """The command line with all commands, or with those that are named: no others are imported then."""
    app = _InOrder(
        "prefect-datagen",
        help="Datasets as Prefect flows: declare columns, get committed row groups, lose nothing.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True},
        callback=_common,
        params=[click.Option(["--debug"], is_flag=True, help="Show tracebacks and Prefect's own log lines.")],
    )
    for name in only or _COMMANDS:
        module = name.replace("-", "_")
        command: click.Command = getattr(import_module(f"prefect_datagen.cli.{module}"), module)
        command.short_help = (command.help or "").partition("\n")[0]  # all of it: click would cut it short
        app.add_command(command, name)
    return app


def _common(debug: bool) -> None:
    """What options of all commands do."""
    if debug:
        os.environ["PREFECT_DATAGEN_DEBUG"] = "1"


def main() -> None:
    """Run the command line; never returns."""
    from prefect_datagen.engine.errors import ConfigError, DatagenError, ResumeRefusedError, RunInterruptedError

    first = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if first in _QUICK:
        gc.disable()  # what is imported is no garbage, and to look through it would take a twelfth of the time
        # pydantic looks for plug-ins of its own among all installed packages: another tenth.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        sys.exit(application(*{first}.intersection(_COMMANDS)).main(prog_name="prefect-datagen", standalone_mode=False))
    except DatagenError as error:
        if os.environ.get("PREFECT_DATAGEN_DEBUG"):
            raise
        sys.stderr.write(f"error: {error.message}\n")
        if isinstance(error, RunInterruptedError):
            sys.exit(130)
        sys.exit(2 if isinstance(error, (ConfigError, ResumeRefusedError)) else 1)
    except click.ClickException as error:  # the command line is wrong
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
