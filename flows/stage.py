"""A stage of a workflow as a task run: its seed rows, its dataset (a subflow run), what it hands on.

    seed rows ─► unchanged? Cached ─► subflow build-dataset ─► output

Everything that a stage needs of earlier ones it reads from their datasets, so it is all the same whether those were
built a moment ago or last week.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled, Completed

from prefect_datagen.blocks.memory_sink import InMemoryRowGroupSink
from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.hand_off import digest, query_rows, query_schema
from prefect_datagen.config.preparation import fingerprint, prepare
from prefect_datagen.config.resume import Course
from prefect_datagen.config.run import OnShortfall, RunConfig, TaskRunnerKind
from prefect_datagen.config.workflow import StageConfig, Workflow
from prefect_datagen.config.workflow_check import check_stages, stage_config
from prefect_datagen.engine.errors import ConfigError, DatagenError, ShortfallError
from prefect_datagen.engine.outcomes import DatasetMetadata, Record
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.ending import keep_result
from prefect_datagen.flows.hand_off import HandOff, derive
from prefect_datagen.flows.lifecycle import RunRequest, execute, final_state
from prefect_datagen.flows.parameters import read_endpoint
from prefect_datagen.flows.placement import FINISHED, below
from prefect_datagen.flows.results import summary
from prefect_datagen.flows.subflow import Subflows, metadata_of
from prefect_datagen.flows.verdict import shortfall
from prefect_datagen.seeds.reader import open_seed
from prefect_datagen.storage.arrow import scan_table
from prefect_datagen.tasks.ticket import Endpoint, Sink

if TYPE_CHECKING:
    from prefect_datagen.storage.arrow import Dataset


class StageOutcome(StrEnum):
    """What became of a stage."""

    BUILT = "built"
    CACHED = "cached"  # nothing that decides its rows has changed
    SKIPPED = "skipped"  # an earlier stage that may be empty gave no rows


class StageResult(Record):
    """A stage that has ended well: small, and without rows."""

    stage: str
    outcome: StageOutcome
    path: str
    output_rows: int = 0
    metadata: DatasetMetadata | None = None

    @property
    def summary(self) -> str:
        """One line."""
        text = "no seed rows" if self.metadata is None else summary(self.metadata)
        return f"{self.stage}: {text} ({self.outcome.value})"


class Chain:
    """A workflow at work. Shared by its stages in one process; a plain class, which Prefect does not look into."""

    def __init__(
        self,
        workflow: Workflow,
        *,
        base: ParquetRowGroupSink | None,
        given: RunConfig | None = None,
        endpoints: Sequence[Endpoint] = (),
        most_rows: int | None = None,
    ) -> None:
        """Check every stage. Called in the flow, whose context is that of the subflows.

        Args:
            workflow: the workflow.
            base: holds a dataset for each stage; None for a preview in memory.
            given: run settings that go before all others.
            endpoints: blocks that go before those of the stages.
            most_rows: rows that a stage makes at most.

        Raises:
            ConfigError: with every problem of every stage.
        """
        self.workflow = workflow
        self.base = base
        self.given = given
        self.endpoints = endpoints
        self.most_rows = most_rows
        self.shapes = check_stages(workflow)
        self.subflows = Subflows()
        self.skipped: set[str] = set()
        self._deriving = threading.Lock()  # two stages may need the same output at once; its dataset has one writer
        self._memory: dict[str, InMemoryRowGroupSink] = {}

    def sink(self, name: str) -> Sink:
        """The dataset of a stage, or one beside it (`NAME.output`, `NAME.seeds`)."""
        if self.base is None:
            return self._memory.setdefault(name, InMemoryRowGroupSink())
        return below(self.base, name)

    def output(self, name: str) -> HandOff:
        """What a stage hands on, made of its dataset where it is not there yet.

        Raises:
            ConfigError: the stage's dataset is not there, or not finished.
        """
        sink, rule = self.sink(name), self.shapes[name].rule
        reader = sink.reader()
        metadata = reader.metadata()
        if metadata is None or metadata.status not in FINISHED:
            state = "is not there" if metadata is None else f"is {metadata.status.value}"
            raise ConfigError(f"the dataset of stage {name!r} in {sink.location} {state}: run that stage first")
        parts = [manifest.part_sha256 for manifest in reader.committed().values()]
        content = digest(metadata.fingerprint, parts)
        built = reader.dataset()
        rows = built.count_rows()
        if not rule.processors or rows == 0:
            return HandOff(sink, rows, content)
        schema = rule.schema(generated=reader.generated().schema, final=built.schema)
        key = digest(content, rule.fingerprint)
        with self._deriving:
            return derive(
                self.sink(f"{name}.output"), schema, lambda: rule.rows(reader), key=key, origins=[sink.location]
            )

    def seeds(self, stage: StageConfig) -> HandOff | None:
        """The seed rows of a stage, or None where it has no earlier stage."""
        if not stage.seeds_from:
            return None
        outputs = {name: self.output(name) for name in stage.seeds_from}
        if stage.query is None:
            return outputs[stage.seeds_from[0]]
        query = stage.query
        relations = {name: self._relation(name, output) for name, output in outputs.items()}
        return derive(
            self.sink(f"{stage.name}.seeds"),
            query_schema(query, {name: relation.schema for name, relation in relations.items()}),
            lambda: query_rows(query, relations),
            key=digest(query, {name: output.fingerprint for name, output in outputs.items()}),
            origins=[output.sink.location for output in outputs.values()],
        )

    def _relation(self, name: str, output: HandOff) -> Dataset:
        """The rows of an output; one without any may have no file that tells its columns."""
        return output.sink.reader().dataset() if output.rows else scan_table(self.shapes[name].schema.empty_table())

    def endpoints_of(self, stage: StageConfig) -> list[Endpoint]:
        """The stage's blocks, then those that were given: of two for the same provider the later one counts."""
        return [*(read_endpoint(name, name="endpoints") for name in stage.endpoints), *self.endpoints]


@task(name="stage", task_run_name="stage-{name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(chain: Chain, name: str) -> StageResult | State[StageResult]:
    """Build the dataset of a stage, unless it is there as it would be built, and what it hands on.

    Returns:
        The result; as a state named Cached, Skipped or Partial; Cancelled as Aborted where the workflow ended meanwhile.

    Raises:
        DatagenError: the stage failed; the error names the stage and the cause.
    """
    if chain.subflows.stopping.is_set():
        return Cancelled(name="Aborted", message="the workflow ended before this stage began")
    try:
        return _Stage(chain, chain.workflow.stage(name)).run()
    except DatagenError as error:
        raise error.located(chain_stage=name) from error.__cause__


class _Stage:
    """One stage on its way."""

    def __init__(self, chain: Chain, stage: StageConfig) -> None:
        self.chain = chain
        self.stage = stage
        self.sink = chain.sink(stage.name)
        self.settings = chain.workflow.run_of(stage, chain.given)

    def run(self) -> StageResult | State[StageResult]:
        chain, stage = self.chain, self.stage
        seeds = None if chain.skipped.intersection(stage.seeds_from) else chain.seeds(stage)
        if stage.seeds_from and (seeds is None or seeds.rows == 0):
            return self._skip()
        source = None if seeds is None else seeds.source
        config = stage_config(chain.workflow, stage, seed=source, select=chain.most_rows is None)
        rows = self._num_records(config)
        known = self._unchanged(config, rows)
        if known is not None:
            return Completed(
                name="Cached", message=summary(known), data=self._result(StageOutcome.CACHED, known, self._rows_out())
            )
        state = self._preview(config, rows) if chain.base is None else self._build(config, rows)
        if state.is_cancelled():
            return Cancelled(name="Aborted", message=state.message)
        metadata = metadata_of(state)
        result = self._result(StageOutcome.BUILT, metadata, self._rows_out())
        return Completed(name=state.name, message=state.message, data=result)

    def _num_records(self, config: DatasetConfig) -> int:
        wanted = self.stage.num_records
        if wanted is None:
            assert config.seed_config is not None  # the workflow was checked
            wanted = open_seed(config.seed_config, base_dir=config.folder, run_seed=0).num_rows
        return wanted if self.chain.most_rows is None else min(wanted, self.chain.most_rows)

    def _unchanged(self, config: DatasetConfig, rows: int) -> DatasetMetadata | None:
        """The verdict on the dataset that is there, where building it again would do nothing and end the same way."""
        reader = self.sink.reader()
        metadata = reader.metadata()
        # Gates that reject no row are no part of the fingerprint: the build judges them anew.
        if metadata is None or metadata.status not in FINISHED or config.checks:
            return None
        prepared = prepare(config, self.settings, num_records=rows, reader=reader)
        same = (
            prepared.decision.course is Course.CONTINUE
            and not prepared.plan.todo
            and metadata.target_num_records == rows
            and metadata.fingerprint == fingerprint(prepared.blueprint.fingerprint_parts)
        )
        good = self.settings.on_shortfall is OnShortfall.WARN or shortfall(metadata, self.settings) is None
        return metadata if same and good else None

    def _build(self, config: DatasetConfig, rows: int) -> State[Any]:
        named = build_dataset.with_options(flow_run_name=f"{self.chain.workflow.name}-{self.stage.name}")
        return self.chain.subflows.run(
            self.stage.name,
            lambda: named(
                config,
                num_records=rows,
                sink=cast(ParquetRowGroupSink, self.sink),
                run=self.settings,
                endpoints=self.chain.endpoints_of(self.stage),
                return_state=True,
            ),
        )

    def _preview(self, config: DatasetConfig, rows: int) -> State[Any]:
        settings = self.settings.model_copy(
            update={"trace": True, "journal": False, "task_runner": TaskRunnerKind.THREADS, "cluster": None}
        )
        endpoints = self.chain.endpoints_of(self.stage)
        work = _Opaque(RunRequest(config, rows, self.sink, settings, endpoints))
        return self.chain.subflows.run(self.stage.name, lambda: preview_stage(work, self.stage.name, return_state=True))

    def _rows_out(self) -> int:
        """Rows that are handed on.

        Raises:
            ShortfallError: there are none, and the stage may not be empty.
        """
        rows = self.chain.output(self.stage.name).rows
        if rows == 0 and not self.stage.allow_empty:
            raise ShortfallError(
                "the stage hands on no rows; look at its rejects, filters and output processors, or let the workflow "
                "go on with allow_empty: true",
                written=0,
            )
        return rows

    def _skip(self) -> State[StageResult]:
        """Nothing can be built; what an earlier run built of other seeds is set aside."""
        reader = self.sink.reader()
        if reader.run_record() is not None:
            with closing(self.sink.open(schema=pa.schema([]), staged=reader.staged)) as store:
                store.supersede()
        self.chain.skipped.add(self.stage.name)
        return Completed(name="Skipped", message="no seed rows", data=self._result(StageOutcome.SKIPPED, None, 0))

    def _result(self, outcome: StageOutcome, metadata: DatasetMetadata | None, rows: int) -> StageResult:
        return StageResult(
            stage=self.stage.name, outcome=outcome, path=self.sink.location, output_rows=rows, metadata=metadata
        )


class _Opaque:
    """A request that Prefect neither looks into nor stores."""

    __slots__ = ("request",)

    def __init__(self, request: RunRequest) -> None:
        self.request = request


@flow(
    name="preview-stage",
    flow_run_name="preview-{name}",
    retries=0,
    validate_parameters=False,
    on_completion=[keep_result],
)
def preview_stage(work: _Opaque, name: str) -> State[DatasetMetadata]:
    """Make a few rows of a stage in memory."""
    finished = execute(work.request)
    return final_state(finished, work.request.run, finished.metadata)
