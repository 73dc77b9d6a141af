"""The three cells of each row by accrue: two steps and one that depends on both."""

import json
import logging
import sys
import tempfile
import time

import pandas as pd
from accrue import EnrichmentConfig, LLMStep, Pipeline


def main() -> None:
    """Build and print what it took."""
    url, rows, parallel = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    logging.disable(logging.WARNING)
    common = {"model": "mock", "base_url": url, "api_key": "none", "structured_outputs": True}
    with tempfile.TemporaryDirectory() as folder:
        config = EnrichmentConfig(max_workers=parallel, enable_progress_bar=False, cache_dir=folder)
        pipeline = Pipeline(
            [
                LLMStep("one", fields={"a": "First about the id."}, **common),
                LLMStep("two", fields={"b": "Second about the id."}, **common),
                LLMStep("three", fields={"c": "Join a and b."}, depends_on=["one", "two"], **common),
            ]
        )
        data = pd.DataFrame({"id": range(rows)})
        started = time.perf_counter()
        made = pipeline.run(data, config)
        seconds = time.perf_counter() - started
    print("\n" + json.dumps({"made_seconds": seconds, "rows": int(made.data["c"].notna().sum())}))


main()
