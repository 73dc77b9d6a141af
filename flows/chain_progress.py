"""How far the stages of a workflow are together: one snapshot of many."""

from __future__ import annotations

from collections.abc import Sequence

from prefect_datagen.flows.progress import ProgressSnapshot

_SUMS = (
    "rows_total",
    "rows_done",
    "rows_rejected",
    "rows_filtered",
    "row_groups_total",
    "row_groups_done",
    "row_groups_reused",
    "cells_done",
    "cells_in_flight",
    "tokens",
)


def together(snapshots: Sequence[ProgressSnapshot]) -> ProgressSnapshot:
    """The sum of what the stages that have begun have done; at least one. Rates are those of the stages still at work."""
    sums = {name: sum(getattr(each, name) for each in snapshots) for name in _SUMS}
    return ProgressSnapshot(
        **sums,
        elapsed=max(each.elapsed for each in snapshots),
        rows_per_second=sum(each.rows_per_second for each in snapshots if each.fraction < 1),
        limits={alias: limit for each in snapshots for alias, limit in each.limits.items()},
        batches={alias: batches for each in snapshots for alias, batches in each.batches.items()},
        circuits={alias: state for each in snapshots for alias, state in each.circuits.items()},
        stopping=next((each.stopping for each in snapshots if each.stopping), None),
        interrupted=any(each.interrupted for each in snapshots),
    )
