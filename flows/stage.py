"""A stage of a workflow as a task run: its seed rows, its dataset (a subflow run), what it hands on.

    seed rows ─► unchanged? Cached ─► subflow build-dataset ─► output

Everything that a stage needs of earlier ones it reads from their datasets, so it is all the same whether those were
built a moment ago or last week. A stage whose rows are seeded one after the other by those of another one takes them from a
stream (`seeds/stream.py`), and may begin while that other stage is still being built.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing, nullcontext
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled, Completed

from prefect_datagen.blocks.memory_sink import InMemoryRowGroupSink
from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.checks import OnFail
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.hand_off import digest, query_rows, query_schema
from prefect_datagen.config.preparation import fingerprint, prepare
from prefect_datagen.config.resume import Course
from prefect_datagen.config.run import OnShortfall, RunConfig, TaskRunnerKind
from prefect_datagen.config.workflow import HandOffMode, StageConfig, Workflow
from prefect_datagen.config.workflow_check import check_stages, stage_config, takes_rows_in_order
from prefect_datagen.engine.errors import ConfigError, DatagenError, ShortfallError
from prefect_datagen.engine.outcomes import DatasetMetadata, Record, RowGroupOutcome
from prefect_datagen.flows.backlog import all_seed_rows
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.ending import keep_result
from prefect_datagen.flows.hand_off import HandOff, derive
from prefect_datagen.flows.lifecycle import RunRequest, execute, final_state
from prefect_datagen.flows.parameters import read_endpoint
from prefect_datagen.flows.placement import FINISHED, below
from prefect_datagen.flows.quick_flow import flow
from prefect_datagen.flows.results import summary
from prefect_datagen.flows.subflow import Subflows, metadata_of
from prefect_datagen.flows.verdict import shortfall
from prefect_datagen.seeds.dataset import DatasetSeedSource
from prefect_datagen.seeds.reader import open_seed
from prefect_datagen.seeds.stream import SeedStream
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
        stages: Sequence[StageConfig],
        given: RunConfig | None = None,
        endpoints: Sequence[Endpoint] = (),
        most_rows: int | None = None,
    ) -> None:
        """Check every stage. Called in the flow, whose context is that of the subflows.

        Args:
            workflow: the workflow.
            base: holds a dataset for each stage; None for a preview in memory.
            stages: those that are run.
            given: run settings that go before all others.
            endpoints: blocks that go before those of the stages.
            most_rows: rows that a stage makes at most.

        Raises:
            ConfigError: with every problem of every stage.
        """
        self.workflow = workflow
        self.base = base
        self.running = frozenset(stage.name for stage in stages)
        self.given = given
        self.endpoints = endpoints
        self.most_rows = most_rows
        self.shapes = check_stages(workflow)
        self.subflows = Subflows()
        self.skipped: set[str] = set()
        self.streams = {} if base is None else self._streams()
        self._deriving = threading.Lock()  # two stages may need the same output at once; its dataset has one writer
        self._memory: dict[str, InMemoryRowGroupSink] = {}

    def sink(self, name: str) -> Sink:
        """The dataset of a stage, or one beside it (`NAME.output`, `NAME.seeds`)."""
        if self.base is None:
            return self._memory.setdefault(name, InMemoryRowGroupSink())
        return below(self.base, name)

    def _streams(self) -> dict[str, SeedStream]:
        """A stream of each stage whose rows, as they are committed, are the seed rows of another one."""
        seeded = [stage.seeds_from[0] for stage in self.workflow.stages if takes_rows_in_order(stage)]
        return {name: self._stream(name) for name in seeded if self.shapes[name].gives_rows_in_order}

    def _stream(self, name: str) -> SeedStream:
        assert self.base is not None
        sink = below(self.base, name)
        return SeedStream(name, location=sink.location, schema=self.shapes[name].schema, load=sink.reader().part)

    def stream_into(self, stage: StageConfig) -> SeedStream | None:
        """The stream that a stage takes its seed rows from, where it takes them from one."""
        return self.streams.get(stage.seeds_from[0]) if takes_rows_in_order(stage) else None

    def may_overtake(self, stage: StageConfig, earlier: str) -> bool:
        """Whether a stage may begin now, though an earlier one that it is seeded by has not ended."""
        stream = self.stream_into(stage)
        given = self.workflow.stage(earlier)
        gates = any(gate.on_fail is OnFail.FAIL_RUN for gate in self.shapes[earlier].config.checks)
        # Other processes read the finished dataset: they do not see this process's streams.
        here = self.workflow.run_of(stage, self.given).task_runner is TaskRunnerKind.THREADS
        streamed = given.hand_off is HandOffMode.STREAMED and not gates and here
        return streamed and stream is not None and stream.is_open

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
    stream = chain.streams.get(name)
    try:
        ended = _Stage(chain, chain.workflow.stage(name)).run()
        if stream is not None and not ended.is_cancelled():
            stream.add(chain.sink(name).reader().committed().values())
            stream.end()
        return ended
    except DatagenError as error:
        raise error.located(chain_stage=name) from error.__cause__
    finally:
        if stream is not None:
            stream.fail(f"stage {name} did not end well")


class _Stage:
    """One stage on its way."""

    def __init__(self, chain: Chain, stage: StageConfig) -> None:
        self.chain = chain
        self.stage = stage
        self.sink = chain.sink(stage.name)
        self.settings = chain.workflow.run_of(stage, chain.given)
        self.seeds = chain.stream_into(stage)
        self.gives = chain.streams.get(stage.name)
        self._rejected: dict[int, int] = {}

    def run(self) -> State[StageResult]:
        chain, stage = self.chain, self.stage
        if chain.skipped.intersection(stage.seeds_from):
            return self._skip()
        if self.seeds is None:
            seeds = chain.seeds(stage)
            if seeds is not None and seeds.rows == 0:
                return self._skip()
            source = None if seeds is None else seeds.source
        else:
            self._await_rows(self.seeds)
            if self.seeds.ended and self.seeds.rows == 0:
                return self._skip()
            source = DatasetSeedSource(path=self.seeds.location)
        config = stage_config(chain.workflow, stage, seed=source, select=chain.most_rows is None)
        rows = self._num_records(config)
        if self.gives is not None:
            self.gives.expected = rows
        known = self._unchanged(config, rows)
        if known is not None:
            return Completed(
                name="Cached", message=summary(known), data=self._result(StageOutcome.CACHED, known, self._rows_out())
            )
        state = self._preview(config, rows) if chain.base is None else self._build(config, rows)
        if state.is_cancelled():
            return Cancelled(name="Aborted", message=state.message)
        metadata = metadata_of(state)
        nothing_done = all(outcome.reused for outcome in metadata.row_groups)  # known late, where seed rows came late
        outcome = StageOutcome.CACHED if self.seeds is not None and nothing_done else StageOutcome.BUILT
        result = self._result(outcome, metadata, self._rows_out())
        name = "Cached" if outcome is StageOutcome.CACHED and state.name == "Completed" else state.name
        return Completed(name=name, message=state.message, data=result)

    def _await_rows(self, seeds: SeedStream) -> None:
        """Wait until there are rows to begin with and those that the dataset, where it was begun, is made of.

        Raises:
            ConfigError: the earlier stage is not part of this run, and its dataset is not there or not finished.
        """
        [earlier] = self.stage.seeds_from
        if earlier not in self.chain.running:
            self.chain.output(earlier)
            seeds.add(self.chain.sink(earlier).reader().committed().values())
            seeds.end()
        recorded = self.sink.reader().run_record()
        used = None if recorded is None else recorded.seed_prefix
        groups = 0 if used is None else used.row_groups
        whole = used is not None and used.whole
        seeds.wait_until(lambda: seeds.rows > 0 and seeds.prefix(groups) is not None and not whole)

    def _num_records(self, config: DatasetConfig) -> int:
        wanted = self.stage.num_records
        if wanted is None:
            assert config.seed_config is not None  # the workflow was checked
            wanted = open_seed(config.seed_config, base_dir=config.folder, run_seed=0).num_rows
        return wanted if self.chain.most_rows is None else min(wanted, self.chain.most_rows)

    def _unchanged(self, config: DatasetConfig, rows: int) -> DatasetMetadata | None:
        """The verdict on the dataset that is there, where building it again would do nothing and end the same way."""
        if self.seeds is not None and not self.seeds.ended:
            return None
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

        def build() -> State[Any]:
            as_many = all_seed_rows() if self.stage.num_records is None else nullcontext()
            with as_many:
                return named(
                    config,
                    num_records=rows,
                    sink=cast(ParquetRowGroupSink, self.sink),
                    run=self.settings,
                    endpoints=self.chain.endpoints_of(self.stage),
                    on_row_group_complete=None if self.gives is None else partial(self._hand_on, self.gives, rows),
                    return_state=True,
                )

        return self.chain.subflows.run(self.stage.name, build)

    def _hand_on(self, stream: SeedStream, rows: int, outcome: RowGroupOutcome) -> None:
        """Give a committed row group to the stages that it seeds; none any more once it is sure that this one fails."""
        manifest = outcome.manifest
        if manifest is None:
            return
        if stream.prefix(1) is None:  # those that were committed before this run are not told of one by one
            manifests = list(self.sink.reader().committed().values())
        else:
            manifests = [manifest]
        self._rejected |= {each.index: each.rejected for each in manifests}
        lost = sum(self._rejected.values())
        if self.settings.on_shortfall is OnShortfall.WARN or lost <= (1 - self.settings.min_completion) * rows:
            stream.add(manifests)

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
