"""What calls add up to while a run goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from prefect_datagen.engine.outcomes import USAGE_COUNTS, ModelUsage


@dataclass(slots=True)
class UsageCounter:
    """A `ModelUsage` that counts."""

    calls: int = 0
    answers: int = 0
    retries: int = 0
    throttled: int = 0
    errors: int = 0
    replayed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    endpoints: dict[str, UsageCounter] = field(default_factory=dict)

    def endpoint(self, name: str) -> UsageCounter:
        """The counter of one of several endpoints."""
        counter = self.endpoints.get(name)
        if counter is None:
            counter = self.endpoints[name] = UsageCounter()
        return counter

    def freeze(self) -> ModelUsage:
        """The record."""
        counts: dict[str, Any] = {name: getattr(self, name) for name in USAGE_COUNTS}
        counts["cost"] = round(self.cost, 9)
        return ModelUsage(**counts, endpoints={name: counter.freeze() for name, counter in self.endpoints.items()})
