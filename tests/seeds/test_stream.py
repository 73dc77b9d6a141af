"""Seed rows of a dataset that is still being built."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pyarrow as pa
import pytest

from prefect_datagen.engine.outcomes import RowGroupManifest
from prefect_datagen.seeds.stream import SeedStream

ROWS = {0: 3, 1: 0, 2: 2}
"""Rows that three row groups of three planned ones wrote."""


def load(part: str) -> pa.Table:
    """A part's rows tell the part and their position."""
    index = int(part)
    return pa.table({"place": [f"{index}.{at}" for at in range(ROWS[index])]})


def manifest(index: int) -> RowGroupManifest:
    """Of a row group that lost some rows on the way."""
    rows = ROWS[index]
    lost = {"rejected": 3 - rows, "rejected_by_reason": {"400": 3 - rows}} if rows < 3 else {}
    part = {"part": str(index), "part_sha256": f"digest {index}"} if rows else {}
    return RowGroupManifest(index=index, start_row=3 * index, planned=3, requested=3, written=rows, **lost, **part)


@pytest.fixture
def stream() -> SeedStream:
    """A stream of nine expected rows, which turn out to be five."""
    made = SeedStream("earlier", location="out/earlier", schema=pa.schema([("place", pa.string())]), load=load)
    made.expected = 9
    return made


def test_rows_come_in_order_whatever_the_order_of_commits(stream: SeedStream) -> None:
    stream.add([manifest(1)])
    assert (stream.rows, stream.is_open) == (0, False)
    stream.add([manifest(2), manifest(0)])
    assert stream.rows == 5
    assert stream.read(1, 4)["place"].to_pylist() == ["0.1", "0.2", "2.0", "2.1"]
    stream.add([manifest(0)])  # known already
    assert stream.rows == 5


def test_the_number_of_rows_is_known_at_the_end(stream: SeedStream) -> None:
    stream.add([manifest(0)])
    assert (stream.num_rows, stream.is_open) == (9, True)
    with pytest.raises(IndexError, match="seed rows up to 4 of out/earlier: there are 3 so far"):
        stream.read(2, 2)
    stream.add([manifest(1), manifest(2)])
    assert not stream.is_open  # the last row group is there: the verdict is about to come
    stream.end()
    assert (stream.num_rows, stream.ended) == (5, True)
    assert stream.read(4, 3)["place"].to_pylist() == ["2.1", "0.0", "0.1"]


def test_a_prefix_tells_the_rows_that_were_used(stream: SeedStream) -> None:
    stream.add([manifest(0), manifest(1)])
    used = stream.prefix()
    assert used is not None
    assert (used.row_groups, used.rows) == (2, 3)
    stream.add([manifest(2)])
    assert stream.fits(used)
    assert not stream.fits(used.model_copy(update={"digest": "other rows"}))
    assert not stream.fits(used.model_copy(update={"row_groups": 4}))


def test_rows_of_a_second_cycle_need_the_whole(stream: SeedStream) -> None:
    stream.add([manifest(0), manifest(1)])
    used = stream.prefix()
    assert used is not None
    whole = used.model_copy(update={"whole": True})
    assert not stream.fits(whole)
    stream.end()
    assert stream.fits(whole)


@pytest.mark.parametrize("end", [SeedStream.end, lambda stream: stream.fail("the stage failed")])
def test_nobody_waits_for_rows_that_do_not_come(stream: SeedStream, end: Callable[[SeedStream], None]) -> None:
    waiting = threading.Thread(target=stream.wait_until, args=(lambda: stream.rows > 0,))
    waiting.start()
    end(stream)
    waiting.join(20)
    assert not waiting.is_alive()
    assert stream.error == (None if stream.ended else "the stage failed")


def test_a_stream_that_has_ended_cannot_fail(stream: SeedStream) -> None:
    stream.end()
    stream.fail("too late")
    assert stream.error is None


def test_whoever_watches_is_told_of_every_change(stream: SeedStream) -> None:
    told: list[int] = []
    with stream.watched(lambda: told.append(stream.rows)):
        stream.add([manifest(0)])
        stream.end()
    stream.add([manifest(1)])
    assert told == [3, 3]
