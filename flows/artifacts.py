"""What a run shows in the Prefect UI: a live progress artifact, a table of row-group outcomes, a dataset card.

Artifacts are for people. A server that does not take one is noted in the log; the run goes on.
"""

from __future__ import annotations

import contextvars
import re
import threading
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import httpx
import pyarrow as pa
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectException
from pydantic import HttpUrl

from prefect_datagen.engine.errors import DatagenError
from prefect_datagen.engine.outcomes import DatasetMetadata, Outcome, RowGroupManifest, RowGroupOutcome
from prefect_datagen.flows.log import run_log
from prefect_datagen.flows.progress import ProgressListener, ProgressSnapshot
from prefect_datagen.flows.results import summary
from prefect_datagen.storage.store import RowGroupStore

_MOST_TABLE_ROWS = 1_000
_SAMPLE_ROWS = 3
_CELL_CHARACTERS = 160
_PATIENCE = 5.0
"""Seconds that the end of a run waits for an update of the artifact."""

_TROUBLE = (httpx.HTTPError, PrefectException)


class ProgressArtifact:
    """The live progress artifact of one run; at most one update per `interval` seconds, and one at the end.

    Updates are made in a thread of their own, one at a time: Prefect's client tries a server that does not answer for
    minutes, and neither row groups nor the end of a run may wait for a picture.
    """

    def __init__(self, *, interval: float, listener: ProgressListener | None) -> None:
        self._interval = interval
        self._listener = listener
        self._id: UUID | None = None
        self._next = 0.0
        self._last: ProgressSnapshot | None = None
        self._context = contextvars.copy_context()  # whose flow run the artifact belongs to
        self._drawing: threading.Thread | None = None
        self._closed = False

    def show(self, snapshot: ProgressSnapshot) -> None:
        """Draw a snapshot, if it is time."""
        self._last = snapshot
        if self._listener is not None:
            self._listener(snapshot)
        if time.monotonic() >= self._next:
            self._draw(snapshot)
            self._next = time.monotonic() + self._interval

    def close(self) -> None:
        """Draw the last snapshot, if the server takes it within some seconds."""
        if self._last is not None and self._has_drawn():
            self._draw(self._last)
            self._has_drawn()
        self._closed = True

    def _draw(self, snapshot: ProgressSnapshot) -> None:
        if self._drawing is None or not self._drawing.is_alive():
            self._drawing = threading.Thread(
                target=self._context.run, args=(self._update, snapshot), name="progress-artifact", daemon=True
            )
            self._drawing.start()

    def _has_drawn(self) -> bool:
        if self._drawing is not None:
            self._drawing.join(_PATIENCE)
        return self._drawing is None or not self._drawing.is_alive()

    def _update(self, snapshot: ProgressSnapshot) -> None:
        percent, text = round(100 * snapshot.fraction, 2), snapshot.line()
        try:
            if self._id is None:
                self._id = create_progress_artifact(percent, description=text)  # type: ignore[assignment]
            else:
                update_progress_artifact(self._id, percent, description=text)
        except _TROUBLE as error:
            run_log().warning("progress artifact not updated: %s", error)
        except RuntimeError:
            # httpx says so of a client that is closed: the flow's is, where its end did not wait for a slow server.
            if not self._closed:
                raise


def show_outcomes(
    metadata: DatasetMetadata,
    manifests: Mapping[int, RowGroupManifest],
    *,
    store: RowGroupStore,
    results_url: HttpUrl | None = None,
) -> None:
    """Make the table of row groups, the dataset card, and the link to the results server where there is one.

    Of very many row groups, the troubled ones come first.
    """
    ordered = sorted(metadata.row_groups, key=lambda outcome: (outcome.outcome is Outcome.COMPLETED, outcome.index))
    rows = [_table_row(outcome, manifests.get(outcome.index)) for outcome in ordered[:_MOST_TABLE_ROWS]]
    try:
        if rows:
            create_table_artifact(rows, description=f"Row groups of {metadata.name}")
        text = card(metadata, location=store.location, samples=_samples(store))
        create_markdown_artifact(text, description=f"Dataset {metadata.name}")
        if results_url is not None:
            create_link_artifact(str(results_url), "Results", description=f"Results of {metadata.name}")
    except _TROUBLE as error:
        run_log().warning("artifacts not made: %s", error)


def _table_row(outcome: RowGroupOutcome, manifest: RowGroupManifest | None) -> dict[str, str | int]:
    return {
        "row group": outcome.index,
        "outcome": outcome.outcome.value + (" (reused)" if outcome.reused else ""),
        "written": manifest.written if manifest else 0,
        "rejected": manifest.rejected if manifest else 0,
        "filtered": manifest.filtered if manifest else 0,
        "why": outcome.message or "",
    }


def card(metadata: DatasetMetadata, *, location: str, samples: Sequence[Mapping[str, object]] = ()) -> str:
    """The dataset card, in Markdown: counts, rejections, usage, schema, and a few rows."""
    lines = [
        f"# {metadata.name}: {metadata.status.value}",
        "",
        summary(metadata),
        "",
        *(f"* {reason}" for reason in metadata.reasons),
        "",
        f"`{location}`, seed {metadata.seed}, {len(metadata.row_groups):,} row groups, {metadata.seconds:.1f} s",
    ]
    if metadata.rejected_by_reason:
        reasons = sorted(metadata.rejected_by_reason.items(), key=lambda item: -item[1])
        lines += ["", "| rejected because of | rows |", "|---|---:|"]
        lines += [f"| {_cell(reason)} | {count:,} |" for reason, count in reasons]
    if metadata.usage:
        lines += ["", "| model | calls | answers | retries | replayed | tokens in | tokens out | cost |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|---:|"]
        lines += [
            f"| {name} | {used.calls:,} | {used.answers:,} | {used.retries:,} | {used.replayed:,} | "
            f"{used.input_tokens:,} | {used.output_tokens:,} | {used.cost:.4f} |"
            for alias, spent in metadata.usage.items()
            for name, used in [(alias, spent), *((f"{alias}@{at}", each) for at, each in spent.endpoints.items())]
        ]
    lines += ["", "| column | type |" + "".join(f" row {at} |" for at in range(len(samples)))]
    lines += ["|---|---|" + "---|" * len(samples)]
    lines += [
        f"| {_cell(name)} | {type_} |" + "".join(f" {_cell(sample.get(name))} |" for sample in samples)
        for name, type_ in metadata.columns.items()
    ]
    return "\n".join(lines)


def _samples(store: RowGroupStore) -> list[dict[str, object]]:
    """The first rows of the dataset; none where they cannot be read, for which there are other places to say so."""
    try:
        rows: list[dict[str, object]] = store.head(_SAMPLE_ROWS).to_pylist()
    except (DatagenError, OSError, pa.ArrowException):
        return []
    return rows


def _cell(value: object) -> str:
    """A value in a table's cell: one line, not too long, and never taken for markup."""
    text = " ".join(("" if value is None else str(value)).split())
    if len(text) > _CELL_CHARACTERS:
        text = text[:_CELL_CHARACTERS] + "..."
    return re.sub(r"([\\|<>`*_\[\]])", r"\\\1", text)
