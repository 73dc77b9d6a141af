"""Prefect tasks: one file per lifecycle stage, thin; algorithms are in the rooms below."""
