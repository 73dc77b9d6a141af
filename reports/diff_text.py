"""A comparison as lines of text, and as Markdown for an artifact."""

from __future__ import annotations

from collections.abc import Sequence

from prefect_datagen.reports.diff import ColumnDiff, DatasetDiff, moment
from prefect_datagen.reports.diff_sql import Kind
from prefect_datagen.reports.formats import MISSING, show

_HEADS = ("column", "compared by", "missing", "different", "mean", "distance")


def diff_text(diff: DatasetDiff) -> str:
    """The comparison for a terminal; `before → after` wherever something differs."""
    lines = [
        f"base     {diff.base}",
        f"current  {diff.current}",
        f"rows     {_change(diff.base_rows, diff.current_rows)}",
        f"rejected {_change(diff.base_rejected, diff.current_rejected)}",
    ]
    lines += [f"schema   {line}" for line in _schema(diff)] or ["schema   unchanged"]
    if diff.keyed is not None:
        keyed = diff.keyed
        counts = f"{keyed.added:,} added, {keyed.removed:,} removed, {keyed.changed:,} changed"
        lines.append(f"by {', '.join(keyed.key)}: {counts}")
        lines += [f"  {column}: {rows:,} rows changed" for column, rows in keyed.changed_by_column.items()]
    if diff.columns:
        lines += ["", *_aligned([_HEADS, *(_row(column) for column in diff.columns)])]
    return "\n".join(lines)


def diff_markdown(diff: DatasetDiff, *, violations: Sequence[str] = ()) -> str:
    """The comparison as Markdown."""
    lines = [
        f"`{diff.base}` against `{diff.current}`",
        "",
        f"* rows: {_change(diff.base_rows, diff.current_rows)}",
        f"* rejected: {_change(diff.base_rejected, diff.current_rejected)}",
        *(f"* schema: {line}" for line in _schema(diff)),
    ]
    if diff.keyed is not None:
        keyed = diff.keyed
        lines.append(
            f"* by {', '.join(keyed.key)}: {keyed.added:,} added, {keyed.removed:,} removed, {keyed.changed:,} changed"
        )
    lines += [f"* **{each}**" for each in violations]
    if diff.columns:
        lines += ["", f"| {' | '.join(_HEADS)} |", f"|{'---|' * len(_HEADS)}"]
        lines += [
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in _row(column))} |" for column in diff.columns
        ]
    return "\n".join(lines)


def _schema(diff: DatasetDiff) -> list[str]:
    lines = []
    for change in diff.schema_changes:
        if change.base is None:
            lines.append(f"+ {change.column} ({change.current})")
        elif change.current is None:
            lines.append(f"- {change.column} ({change.base})")
        else:
            lines.append(f"~ {change.column} ({change.base} → {change.current})")
    return lines


def _row(column: ColumnDiff) -> tuple[str, ...]:
    base, current = column.base, column.current
    mean = moment if column.kind is Kind.TIMES else show
    means = (MISSING, MISSING) if base.mean is None or current.mean is None else (mean(base.mean), mean(current.mean))
    return (
        column.column,
        column.kind.value if column.kind is not Kind.OTHER else MISSING,
        _pair(f"{base.missing_share:.1%}", f"{current.missing_share:.1%}"),
        _pair(show(base.distinct), show(current.distinct)),
        _pair(*means),
        MISSING if column.distance is None else f"{column.distance:.3f}",
    )


def _pair(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _change(before: int, after: int) -> str:
    if before == after:
        return f"{after:,}"
    share = f" ({(after - before) / before:+.1%})" if before else ""
    return f"{before:,} → {after:,}{share}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
