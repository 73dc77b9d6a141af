"""What calls add up to while a run goes on: counts by alias, and budgets of the whole run."""

from __future__ import annotations

from dataclasses import dataclass, field

from prefect_datagen.engine.outcomes import ModelUsage


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
        return ModelUsage(
            calls=self.calls,
            answers=self.answers,
            retries=self.retries,
            throttled=self.throttled,
            errors=self.errors,
            replayed=self.replayed,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=round(self.cost, 9),
            endpoints={name: counter.freeze() for name, counter in self.endpoints.items()},
        )


@dataclass
class RunBudget:
    """Budgets of the whole run, counted over all aliases. Reaching one ends the run, resumable."""

    max_total_tokens: int | None = None
    max_cost: float | None = None
    tokens: int = field(init=False, default=0)
    cost: float = field(init=False, default=0.0)

    def spend(self, tokens: int, cost: float) -> None:
        """Note what an answer cost."""
        self.tokens += tokens
        self.cost += cost

    def exceeded(self) -> str | None:
        """Which budget is used up, in words, or None."""
        if self.max_total_tokens is not None and self.tokens >= self.max_total_tokens:
            return f"max_total_tokens={self.max_total_tokens:,} reached ({self.tokens:,} tokens)"
        if self.max_cost is not None and self.cost >= self.max_cost:
            return f"max_cost={self.max_cost:g} reached ({self.cost:.4f})"
        return None
