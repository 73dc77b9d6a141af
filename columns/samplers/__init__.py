"""Samplers: one file per family, its params (what a user writes) and its plan (how rows are drawn) side by side."""
