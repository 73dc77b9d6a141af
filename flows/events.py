"""What Prefect is told of datasets: events that automations start on, and assets with their lineage.

A dataset is one asset, whatever its versions: its key is its place, as a URI. A dataset that has ended well is a
*materialization* of it, with what it came from (seeds, earlier stages) as the assets upstream. The events
`prefect-datagen.dataset.ready`, `.partial` and `.failed` carry the same key as their resource, so one filter finds both.

Prefect sends events from a thread of its own, and never fails a run for one that it could not send.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Any

from prefect import State
from prefect.assets import Asset, AssetProperties
from prefect.context import AssetContext
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.types.names import MAX_ASSET_KEY_LENGTH, RESTRICTED_ASSET_CHARACTERS

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.engine.errors import DatagenError
from prefect_datagen.engine.outcomes import DatasetMetadata
from prefect_datagen.flows.placement import LATEST, VERSION

_LONGEST_MESSAGE = 2_000
"""Characters of an error's message that an event holds; an event has a limited size."""


class DatasetEvent(StrEnum):
    """What has become of a dataset."""

    READY = "prefect-datagen.dataset.ready"  # as it was asked for
    PARTIAL = "prefect-datagen.dataset.partial"  # rows are missing, and that was allowed
    FAILED = "prefect-datagen.dataset.failed"


@dataclass(frozen=True)
class DatasetNews:
    """What is told of one run of a dataset.

    Attributes:
        path: where the dataset is: that of all its versions, where it has some.
        version: the version that the run makes, or None.
        name: of the dataset.
        seeds: places of what it is made of, as `materialized` takes them.
    """

    path: str
    version: str | None = None
    name: str = ""
    seeds: Sequence[str] = ()

    def of(self, config: DatasetConfig) -> DatasetNews:
        """The same, with what the config says of the dataset."""
        seed = config.seed_config
        seeds = [] if seed is None else seed.source.locations(config.folder)
        return replace(self, name=config.name, seeds=seeds)

    def ended(self, state: State[Any], metadata: DatasetMetadata) -> None:
        """Tell of a run that has ended well: its event and its asset. One that was stopped is told of by Prefect."""
        if not state.is_completed():
            return
        event = DatasetEvent.PARTIAL if state.name == "Partial" else DatasetEvent.READY
        payload = self._payload(metadata)
        self._tell(event, payload)
        materialized(self.path, self.seeds, name=self.name, about=payload)

    def failed(self, error: DatagenError, metadata: DatasetMetadata | None) -> None:
        """Tell of a run that has failed, as its error says it; `metadata` is None where it failed before it began."""
        payload = self._payload(metadata) | {"error": type(error).__name__, "message": error.message[:_LONGEST_MESSAGE]}
        self._tell(DatasetEvent.FAILED, payload)

    def _tell(self, event: DatasetEvent, payload: dict[str, Any]) -> None:
        labels = {"path": self.path, "name": self.name, "version": self.version or ""}
        emit_event(
            event.value,
            resource={
                "prefect.resource.id": asset_key(self.path),
                "prefect.resource.name": self.name or posixpath.basename(self.path),
                **{f"prefect-datagen.{label}": value for label, value in labels.items()},
            },
            payload=payload,
        )

    def _payload(self, metadata: DatasetMetadata | None) -> dict[str, Any]:
        told = {"path": self.path, "version": self.version, "name": self.name, "flow_run_id": flow_run.id}
        told["location"] = self.path if self.version is None else posixpath.join(self.path, self.version)
        if metadata is None:
            return told | {"status": "failed", "requested": 0, "written": 0, "rejected": 0, "filtered": 0}
        return told | {
            "status": metadata.status.value,
            "requested": metadata.target_num_records,
            "written": metadata.actual_num_records,
            "rejected": metadata.rejected,
            "filtered": metadata.filtered,
            "row_groups": len(metadata.row_groups),
            "seed": metadata.seed,
        }


def materialized(
    place: str, sources: Sequence[str] = (), *, name: str = "", about: dict[str, Any] | None = None
) -> None:
    """Tell that what is at `place` was made of what is at `sources`.

    Args:
        place: path or URL without credentials.
        sources: the same of what it was made of.
        name: for people.
        about: what else is known; small.
    """
    asset = Asset(key=asset_key(place), properties=AssetProperties(name=name or None))
    # Prefect has these events made by tasks (`@materialize`); a task run only to send them would cost more than it tells.
    context = AssetContext(
        downstream_assets={asset},
        direct_asset_dependencies={Asset(key=asset_key(source)) for source in sources},
        materialized_by="prefect-datagen",
        materialization_metadata={asset.key: about or {}},
    )
    context.emit_events(Completed())


def asset_key(place: str) -> str:
    """The key of what is at a path or URL: a URI. All versions of a dataset have the key of the dataset."""
    scheme, separator, rest = place.rpartition("://")
    path = rest.rpartition("@")[2] if separator else Path(place).absolute().as_posix()
    folder, last = posixpath.split(path.rstrip("/"))
    if last == LATEST or re.fullmatch(VERSION, last):
        path = folder
    key = f"{scheme.lower() or 'file'}://" + "".join(
        "_" if each in RESTRICTED_ASSET_CHARACTERS else each for each in path
    )
    if len(key) <= MAX_ASSET_KEY_LENGTH:
        return key
    digest = blake2b(key.encode(), digest_size=8).hexdigest()
    return f"{key[: MAX_ASSET_KEY_LENGTH - len(digest) - 1]}-{digest}"
