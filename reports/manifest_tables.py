"""Manifests as tables, made a block at a time: following a build of thousands of row groups costs what is new."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from prefect_datagen.engine.outcomes import USAGE_COUNTS, RowGroupManifest

_BLOCK = 256
_COUNTS = ("index", "start_row", "planned", "requested", "written", "rejected", "filtered", "part_bytes")

_Tables = dict[str, pa.Table]


class ManifestTables:
    """The relations `row_groups`, `rejections`, `stages` and `usage` of one dataset, which may be growing."""

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[tuple[RowGroupManifest, ...], _Tables]] = {}

    def __repr__(self) -> str:
        return f"<ManifestTables blocks={len(self._blocks)}>"

    def of(self, manifests: tuple[RowGroupManifest, ...]) -> _Tables:
        """The relations by name. Blocks whose manifests are the same objects as before are taken as they were."""
        blocks = [self._block(start, manifests[start : start + _BLOCK]) for start in range(0, len(manifests), _BLOCK)]
        if not blocks:
            return _tables(())
        return {name: pa.concat_tables([block[name] for block in blocks]) for name in blocks[0]}

    def _block(self, start: int, manifests: tuple[RowGroupManifest, ...]) -> _Tables:
        known = self._blocks.get(start)
        if known is None or known[0] != manifests:
            self._blocks[start] = known = (manifests, _tables(manifests))
        return known[1]


def _tables(manifests: Sequence[RowGroupManifest]) -> _Tables:
    row_groups = {name: pa.array([getattr(item, name) for item in manifests], pa.int64()) for name in _COUNTS}
    row_groups["outcome"] = pa.array([item.outcome.value for item in manifests], pa.string())
    for name in ("started_at", "ended_at"):
        row_groups[name] = pa.array([getattr(item, name) for item in manifests], pa.timestamp("us", "UTC"))
    row_groups["seconds"] = pa.array(
        [
            (item.ended_at - item.started_at).total_seconds() if item.started_at and item.ended_at else None
            for item in manifests
        ],
        pa.float64(),
    )
    return {
        "row_groups": pa.table(row_groups),
        "rejections": _pairs(manifests, "rejected_by_reason", "reason", "rows", pa.int64()),
        "stages": _pairs(manifests, "stage_seconds", "stage", "seconds", pa.float64()),
        "usage": _usage(manifests),
    }


def _pairs(manifests: Sequence[RowGroupManifest], field: str, key: str, value: str, kind: pa.DataType) -> pa.Table:
    found = [(item.index, *pair) for item in manifests for pair in getattr(item, field).items()]
    return pa.table(
        {
            "row_group": pa.array([each[0] for each in found], pa.int64()),
            key: pa.array([each[1] for each in found], pa.string()),
            value: pa.array([each[2] for each in found], kind),
        }
    )


def _usage(manifests: Sequence[RowGroupManifest]) -> pa.Table:
    found = [(item.index, alias, spent) for item in manifests for alias, spent in item.usage.items()]
    columns = {
        "row_group": pa.array([each[0] for each in found], pa.int64()),
        "model": pa.array([each[1] for each in found], pa.string()),
    }
    for name in USAGE_COUNTS:
        kind = pa.float64() if name == "cost" else pa.int64()
        columns[name] = pa.array([getattr(each[2], name) for each in found], kind)
    return pa.table(columns)
