"""Prefect flows: the order of stages, who is admitted when, and what a run's final state is."""
