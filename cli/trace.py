"""`prefect-datagen trace`: where the time of a build went."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click


@click.command()
@click.argument(
    "directory", type=click.Path(path_type=Path), metavar="DIR", help="A dataset that was built with --trace."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Trace file. [default: DIR/trace.json]"
)
def trace(directory: Path, output: Path | None) -> None:
    """Write a Chrome/Perfetto trace of the cells in DIR and print the critical path.

    Open the file in a browser's chrome://tracing or in Perfetto. Example: prefect-datagen trace out/reviews
    """
    import orjson

    from prefect_datagen.engine.errors import ConfigError, SinkError
    from prefect_datagen.engine.row_group import CellTrace
    from prefect_datagen.engine.trace import chrome_trace, critical_path
    from prefect_datagen.storage.reader import DatasetReader

    table = DatasetReader(directory).traces()
    if table.num_rows == 0:
        raise ConfigError(f"{directory} has no traces: build it with --trace")
    records = [CellTrace(**record) for record in table.to_pylist()]
    target = output or directory / "trace.json"
    try:
        target.write_bytes(orjson.dumps(chrome_trace(records)))
    except OSError as error:
        raise SinkError(f"cannot write {target}: {error.strerror}", path=str(target)) from error
    path = critical_path(records)
    ran, waited = Counter[str](), Counter[str]()
    for step in path:
        ran[step.column] += step.ran  # type: ignore[assignment]
        waited[step.column] += step.waited  # type: ignore[assignment]
    begin, end = min(record.queued for record in records), max(record.ended for record in records)
    click.echo(f"{len(records):,} cells in {end - begin:.2f} s; trace: {target}")
    click.echo(f"critical path ({len(path)} cells):")
    for column in dict.fromkeys(step.column for step in path):
        click.echo(f"  {column:24} ran {ran[column]:8.3f} s, waited for a slot {waited[column]:8.3f} s")
