"""Hold a dataset until standard input ends: `holder.py DATASET`. Says `open` when it has it."""

from __future__ import annotations

import sys

import pyarrow as pa

from prefect_datagen.storage import DatasetDirectory

if __name__ == "__main__":
    with DatasetDirectory(sys.argv[1], schema=pa.schema([("code", pa.string())])):
        print("open", flush=True)
        sys.stdin.read()
