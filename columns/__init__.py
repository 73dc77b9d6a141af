"""Columns: one file per family, its config model and its generator side by side. Nothing here knows of Prefect."""
