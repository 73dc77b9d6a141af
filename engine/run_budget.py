"""Budgets of a whole run: tokens and cost."""

from __future__ import annotations

from dataclasses import dataclass, field


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
