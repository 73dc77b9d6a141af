"""How far a run is: one frozen snapshot, drawn by whoever wants to (terminal, artifact, log)."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prefect_datagen.engine.batches import BatchStatistics


@dataclass(frozen=True)
class ProgressSnapshot:
    """A moment of a run. Times in seconds, rates per second."""

    rows_total: int
    rows_done: int
    rows_rejected: int
    rows_filtered: int
    row_groups_total: int
    row_groups_done: int
    row_groups_reused: int
    cells_done: int
    cells_in_flight: int
    elapsed: float
    rows_per_second: float
    tokens: int
    limits: dict[str, int] = field(default_factory=dict)
    throttled: dict[str, int] = field(default_factory=dict)
    circuits: dict[str, str] = field(default_factory=dict)
    batches: dict[str, BatchStatistics] = field(default_factory=dict)
    stopping: str | None = None
    interrupted: bool = False

    @property
    def fraction(self) -> float:
        """Share of the rows that are written, rejected or filtered, 0 to 1."""
        ended = self.rows_done + self.rows_rejected + self.rows_filtered
        return ended / self.rows_total if self.rows_total else 1.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the rate so far, or None where there is none."""
        left = self.rows_total - self.rows_done - self.rows_rejected - self.rows_filtered
        return left / self.rows_per_second if self.rows_per_second > 0 else None

    @property
    def trouble(self) -> list[str]:
        """What holds calls back, by model alias: a limit that fell after push-backs, a circuit that is not closed."""
        limited = [
            f"{alias} limited to {self.limits[alias]} at a time after {count:,} push-backs"
            for alias, count in self.throttled.items()
            if count
        ]
        return limited + [f"{alias} circuit {state}" for alias, state in self.circuits.items() if state != "closed"]

    def short(self) -> str:
        """What fits beside a bar."""
        held = [f"{alias} limit {self.limits[alias]}" for alias, count in self.throttled.items() if count]
        held += [f"{alias} {state}" for alias, state in self.circuits.items() if state != "closed"]
        left = "" if self.seconds_left is None else f", {_clock(self.seconds_left)} left"
        return (
            f"{self.rows_done:,}/{self.rows_total:,} rows, {self.rows_rejected:,} rejected, "
            f"{self.rows_per_second:,.0f}/s, {self.cells_in_flight} in flight{left}, {_thousands(self.tokens)} tokens"
            + "".join(f"; {alias}: {batches}" for alias, batches in self.batches.items())
            + (f" ({', '.join(held)})" if held else "")
        )

    def line(self) -> str:
        """One line for logs."""
        left = "" if self.seconds_left is None else f", {_clock(self.seconds_left)} left"
        return (
            f"{self.rows_done:,} of {self.rows_total:,} rows, {self.rows_rejected:,} rejected, "
            f"{self.rows_per_second:,.1f} rows/s, {self.cells_in_flight} calls in flight, {self.tokens:,} tokens{left}"
            + "".join(f"; {alias}: {batches}" for alias, batches in self.batches.items())
            + (f" ({', '.join(self.trouble)})" if self.trouble else "")
            + (f" (stopping: {self.stopping})" if self.stopping else "")
        )


def _thousands(number: int) -> str:
    return f"{number:,}" if number < 10_000 else f"{number / 1000:,.0f}k"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


ProgressListener = Callable[[ProgressSnapshot], None]

_listener: contextvars.ContextVar[ProgressListener | None] = contextvars.ContextVar("progress_listener", default=None)


@contextmanager
def progress_to(listener: ProgressListener) -> Iterator[None]:
    """Send the snapshots of every run that this thread starts to `listener`, from the run's own thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def current_listener() -> ProgressListener | None:
    """Who listens to runs that this thread starts."""
    return _listener.get()
