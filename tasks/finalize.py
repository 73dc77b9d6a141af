"""Stage `finalize`: after-generation processors make the finished dataset of the committed parts. Not run after an abort."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import cast

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from prefect_datagen.engine.errors import DatagenError
from prefect_datagen.processors import Stage, run_after_generation
from prefect_datagen.tasks.runtime import Runtime


class FinalizeWork:
    """The runtime, in a form that Prefect does not look into."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime


@task(name="finalize", task_run_name="finalize", cache_policy=NO_CACHE, persist_result=False)
def finalize(work: FinalizeWork) -> None:
    """Run the after-generation processors over the committed rows; the result is built beside and swapped in.

    Raises:
        ProcessorError: a processor failed; the dataset is as before.
        SinkError: the result cannot be written; the dataset is as before.
    """
    runtime = work.runtime
    processors = runtime.blueprint.processors(Stage.AFTER_GENERATION)
    try:
        # Closed in any case: a generator that is left half-way keeps its temporary files.
        finished = cast("Generator[pa.Table]", run_after_generation(processors, runtime.store.generated()))
        with closing(finished):
            runtime.store.publish(finished, schema=runtime.blueprint.final_schema)
    except DatagenError as error:
        raise error.located(stage="finalize") from error.__cause__
