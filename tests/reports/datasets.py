"""Small dataset directories, written file by file as the layout says, with one row group's worth of everything."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prefect_datagen.engine.outcomes import (
    DatasetMetadata,
    ModelUsage,
    Outcome,
    RejectedRow,
    RowGroupManifest,
    RowGroupOutcome,
    Verdict,
)
from prefect_datagen.storage.parts import rejects_table

START = datetime(2025, 3, 1, 9, 0, tzinfo=UTC)
CATEGORIES = ["books", "garden", "kitchen", "music", "toys"]


def rows(start: int, count: int, *, seed: int = 0) -> pa.Table:
    """Rows of a product review dataset: every kind of column that reports know."""
    random = np.random.default_rng([seed, start])
    texts = [
        " ".join(["fine", "solid", "cheap", "loud"][(start + n) % 4] for _ in range(3 + n % 40)) for n in range(count)
    ]
    return pa.table(
        {
            "id": pa.array(range(start, start + count), pa.int64()),
            "code": pa.array([f"{(start + n) % 10}E{n % 8}" for n in range(count)], pa.string()),
            "category": pa.array([CATEGORIES[int(k)] for k in random.integers(0, 5, count)], pa.string()),
            "price": pa.array(np.round(random.lognormal(3, 0.6, count), 2), pa.float64()),
            "score": pa.array(random.integers(1, 6, count), pa.int64()),
            "in_stock": pa.array((random.random(count) < 0.8).tolist(), pa.bool_()),
            "sold_on": pa.array(
                [START.date() + timedelta(days=int(k)) for k in random.integers(0, 200, count)], pa.date32()
            ),
            "review": pa.array(texts, pa.string()),
            "quality": pa.array(
                [{"fluency": {"score": int(s), "reasoning": f"reason {s}"}} for s in random.integers(1, 6, count)],
                pa.struct([("fluency", pa.struct([("score", pa.int64()), ("reasoning", pa.string())]))]),
            ),
        }
    )


def commit(
    path: Path, index: int, table: pa.Table, *, start_row: int, rejects: list[RejectedRow] | None = None
) -> RowGroupManifest:
    """Write one row group: part, rejects, manifest."""
    rejects = rejects or []
    for folder in ("data", "manifests", "rejects"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    part, rejects_part = f"data/part-{index:05d}.parquet", f"rejects/part-{index:05d}.parquet"
    pq.write_table(table, path / part)
    if rejects:
        pq.write_table(rejects_table(rejects), path / rejects_part)
    begin = START + timedelta(seconds=20 * index)
    calls = table.num_rows + len(rejects)
    manifest = RowGroupManifest(
        index=index,
        start_row=start_row,
        planned=calls,
        requested=calls,
        written=table.num_rows,
        rejected=len(rejects),
        outcome=Outcome.COMPLETED if table.num_rows else Outcome.DROPPED,
        rejected_by_reason=dict(Counter(row.reason for row in rejects)),
        part=part,
        part_bytes=(path / part).stat().st_size,
        rejects_part=rejects_part if rejects else None,
        started_at=begin,
        ended_at=begin + timedelta(seconds=18 + 2 * (index % 3)),
        stage_seconds={"seed": 0.2, "generate": 16.5 + index % 3, "commit": 0.3},
        usage={
            "writer": _usage(calls, retries=index % 4, input_tokens=90, output_tokens=210, cost=0.0021),
            "judge": _usage(calls, input_tokens=300, output_tokens=40, cost=0.0011),
        },
    )
    replace(path / f"manifests/part-{index:05d}.json", manifest.model_dump_json())
    return manifest


def replace(path: Path, text: str) -> None:
    """Write a file whole, as a sink does: somebody may be reading."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _usage(calls: int, *, input_tokens: int, output_tokens: int, cost: float, retries: int = 0) -> ModelUsage:
    """Of `calls` calls; tokens and cost are those of one."""
    return ModelUsage(
        calls=calls,
        answers=calls,
        retries=retries,
        input_tokens=input_tokens * calls,
        output_tokens=output_tokens * calls,
        cost=cost * calls,
    )


def rejected(row: int, *, reason: str = "timeout", column: str = "review") -> RejectedRow:
    return RejectedRow(
        row_index=row,
        column=column,
        error_type="ModelError",
        reason=reason,
        message=f"no usable answer: {reason}",
        attempts=3,
        retryable=reason == "timeout",
        values={"id": row, "category": "books"},
    )


def write_dataset(path: Path, *, groups: int = 3, size: int = 40, seed: int = 0, finished: bool = True) -> Path:
    """A dataset of `groups` row groups of `size` rows, two of each rejected; unless `finished` it is being built."""
    manifests = []
    for index in range(groups):
        start = index * size
        rejects = [rejected(start, reason="timeout"), rejected(start + 1, reason="invalid answer", column="quality")]
        table = rows(start + 2, size - 2, seed=seed)
        manifests.append(commit(path, index, table, start_row=start, rejects=rejects))
    (path / "config.yaml").write_text("name: reviews\ncolumns: []\n")
    if finished:
        finish(path, manifests, size=size)
    return path


def finish(path: Path, manifests: list[RowGroupManifest], *, size: int, **changes: Any) -> None:
    """Write `metadata.json`."""
    written = sum(manifest.written for manifest in manifests)
    metadata = DatasetMetadata(
        name="reviews",
        status=Verdict.PARTIAL,
        reasons=[f"{sum(manifest.rejected for manifest in manifests)} rows rejected"],
        target_num_records=size * len(manifests),
        actual_num_records=written,
        rejected=sum(manifest.rejected for manifest in manifests),
        row_group_size=size,
        row_groups=[RowGroupOutcome(index=each.index, outcome=each.outcome, manifest=each) for each in manifests],
        seed=7,
        fingerprint="f",
        started_at=START,
        ended_at=START + timedelta(seconds=20 * len(manifests) + 2),
        seconds=20.0 * len(manifests) + 2,
    )
    replace(path / "metadata.json", metadata.model_copy(update=changes).model_dump_json())
