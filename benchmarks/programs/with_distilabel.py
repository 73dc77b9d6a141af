"""The three cells of each row by distilabel: three tasks, the last one fed by both others."""

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import GroupColumns, LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


def pipeline(url: str, rows: int, parallel: int) -> Pipeline:
    """As a user would write it. distilabel has no limit of calls in flight but the size of a batch."""

    def model() -> OpenAILLM:
        return OpenAILLM(model="mock", base_url=url, api_key="none", timeout=300)

    with Pipeline("three-cells") as pipe:
        data = [{"id": number} for number in range(rows)]
        source = LoadDataFromDicts(data=data, batch_size=parallel)
        ask = {"columns": ["id"], "use_system_prompt": False, "input_batch_size": parallel}
        first = TextGeneration(
            name="a", llm=model(), template="First about {{ id }}.", output_mappings={"generation": "a"}, **ask
        )
        second = TextGeneration(
            name="b", llm=model(), template="Second about {{ id }}.", output_mappings={"generation": "b"}, **ask
        )
        both = GroupColumns(columns=["a", "b"], output_columns=["as", "bs"], input_batch_size=parallel)
        join = TextGeneration(
            name="c",
            llm=model(),
            template="Join {{ as }} and {{ bs }}.",
            columns=["as", "bs"],
            use_system_prompt=False,
            input_batch_size=parallel,
            output_mappings={"generation": "c"},
        )
        source >> [first, second] >> both >> join
    return pipe


if __name__ == "__main__":
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        pipe = pipeline(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
        pipe._cache_dir = Path(folder)
        started = time.perf_counter()
        made = pipe.run(use_cache=False, dataset_batch_size=int(sys.argv[3]))
        seconds = time.perf_counter() - started
    print("\n" + json.dumps({"made_seconds": seconds, "rows": len(made["default"]["train"])}))
