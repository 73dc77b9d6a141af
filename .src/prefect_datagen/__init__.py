"""Datasets as Prefect flows."""
