"""The comparison of two datasets as a source of the query cache, which joins, cancels, limits and keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from prefect_datagen.reports.dataset_files import DatasetState
from prefect_datagen.reports.diff import diff_datasets
from prefect_datagen.reports.duckdb_sources import BASE, CURRENT, PairSource
from prefect_datagen.reports.query_cache import Cancellation, Query, SourceLimits
from prefect_datagen.server.dataset import DatasetSnapshot


class PinnedPairSource(PairSource):
    """Two datasets side by side as they were loaded; nothing is read again."""

    def __init__(self, base: DatasetSnapshot, current: DatasetSnapshot) -> None:
        super().__init__(base.state.path, current.state.path)
        self._pinned = f"{base.version} {current.version}"
        self._states = {BASE: base.state, CURRENT: current.state}

    def version(self) -> str:
        """The versions that were loaded."""
        return self._pinned

    def _read(self) -> Mapping[str, DatasetState]:
        return self._states


class ComparisonSource:
    """Answers one question, "what differs?", for a key given as parameter (`reports.query_cache.Source`)."""

    dialect = None
    limits = SourceLimits(max_running=2, timeout=600.0, ttl=None)

    def __init__(self, base: DatasetSnapshot, current: DatasetSnapshot) -> None:
        self._pair = PinnedPairSource(base, current)
        self._titles = {"base": base.state.name, "current": current.state.name}
        self.identity = f"comparison of {self._pair.identity}"

    def version(self) -> str:
        """Changes with either dataset."""
        return self._pair.version()

    def question(self, key: Sequence[str]) -> Query:
        """The query whose one row holds the comparison as JSON; `key` names the columns that rows are matched by."""
        return Query(self, "comparison", parameters={"key": tuple(key)}, name="comparison")

    def execute(
        self, text: str, parameters: Mapping[str, Any], *, relations: Mapping[str, pa.Table], cancel: Cancellation
    ) -> pa.Table:
        """Compare. The datasets' paths are left out of the answer.

        Raises:
            ConfigError: a key column is not in both datasets, or does not tell rows apart.
        """
        diff = diff_datasets(self._pair, key=list(parameters["key"]), cancel=cancel)
        answer = diff.model_dump(mode="json") | self._titles
        return pa.table({"comparison": pa.array([orjson.dumps(answer)], pa.binary())})

    def close(self) -> None:
        """Close the database."""
        self._pair.close()
