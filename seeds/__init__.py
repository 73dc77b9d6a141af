"""Seed data: what a dataset grows from. One file per kind of source, its config model and its reading side by side."""
