"""The whole config of a dataset and of a run: loading, checking, and what both become before the first row is made."""
