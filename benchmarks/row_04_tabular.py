"""1,000,000 rows without a model: five samplers, a subcategory, a datetime, two Jinja expressions, one SQL expression."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Bench, Line
from benchmarks.peers import DATA_DESIGNER_TABULAR
from prefect_datagen.config.run import TABULAR_ROW_GROUP_SIZE

ROWS, MANY, PEER_ROWS = 1_000_000, 10_000_000, 10_000


def lines(bench: Bench) -> Iterator[Line]:
    """Rows per second of the whole build, files included, with row groups of the default size. A million rows are a second
    or two, of which the start of a run and its end are a part: what a row costs shows at ten million."""
    peers, left_out = bench.present((DATA_DESIGNER_TABULAR,))
    commands = {
        "all": bench.job("tabular", ROWS, TABULAR_ROW_GROUP_SIZE),
        "samplers": bench.job("samplers", ROWS, TABULAR_ROW_GROUP_SIZE),
        "many": bench.job("samplers", MANY, TABULAR_ROW_GROUP_SIZE),
    }
    commands |= {peer.name: peer.command(PEER_ROWS) for peer in peers}
    found = bench.compare(commands)
    whole, samplers = (ROWS / found[name].made for name in ("all", "samplers"))
    yield Line("1,000,000 rows: samplers, Jinja, SQL", "≥ 200,000 rows/s", f"{whole:,.0f} rows/s", whole >= 200_000)
    yield Line("… samplers and SQL alone", "≥ 1,000,000 rows/s", f"{samplers:,.0f} rows/s", samplers >= 1_000_000)
    many = found["many"]
    yield Line(
        "… the same, 10,000,000 rows",
        "≥ 1,000,000 rows/s",
        f"{MANY / many.made:,.0f} rows/s{many.note}",
        MANY / many.made >= 1_000_000,
    )
    for peer in peers:
        rate = PEER_ROWS / found[peer.name].made
        yield Line(
            f"… {peer.name}, {PEER_ROWS:,} rows without the SQL", "", f"{rate:,.0f} rows/s ({whole / rate:,.0f} ×)"
        )
    yield from left_out
