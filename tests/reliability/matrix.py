"""The fault matrix: what is done to a build, where, and how the build is to end. Played by `test_matrix.py`."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from prefect_datagen.engine.outcomes import RowGroupOutcome
from tests.reliability import user_code
from tests.reliability.child_builds import wait_for
from tests.reliability.configs import CALLS, CEILING, ratings, reviews
from tests.reliability.servers import ServerOnPort, free_port
from tests.reliability.user_code import fill
from tests.reliability.worlds import Attempt, World

Play = Callable[[World], Attempt]


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        fault: what happens.
        where: to what.
        outcome: how the run ends; the name of an error means that it fails with that.
        play: makes it happen.
        config: of the dataset, from the server's URL.
        varies: whether the number of rows that were committed depends on the moment.
        paid_twice: most answers that the fault and the resume may pay for a second time.
        killed: whether the process is gone before it could count the calls that it had in flight.
        cancels: whether calls are cancelled, so that nobody knows whether the server saw them.
        unseen_calls: whether calls were made that no server saw.
        tampered: whether somebody else changed the dataset's folder.
    """

    fault: str
    where: str
    outcome: str
    play: Play
    config: Callable[[str], dict[str, Any]] = reviews
    varies: bool = False
    paid_twice: int = 0
    killed: bool = False
    cancels: bool = False
    unseen_calls: bool = False
    tampered: bool = False

    @property
    def name(self) -> str:
        """Identity, for test ids."""
        return f"{self.fault}, {self.where}"


CASES: list[Case] = []


def case(fault: str, where: str, outcome: str, **options: Any) -> Callable[[Play], Play]:
    """Enter a play into the matrix."""

    def enter(play: Play) -> Play:
        CASES.append(Case(fault, where, outcome, play, **options))
        return play

    return enter


# --- An endpoint that fails now and then: nothing is lost, whatever the fault -------------------------------------


def _with_faults(world: World, *, behaviour: dict[str, Any], run: dict[str, Any]) -> Attempt:
    world.server.become(latency_ms=2, **behaviour)
    return world.build(**run)


_DEAD = "EarlyShutdownError"


def _endpoint(
    fault: str, outcome: str, *, behaviour: dict[str, Any], run: dict[str, Any] | None = None, **options: Any
) -> None:
    play = functools.partial(_with_faults, behaviour=behaviour, run=run or {})
    # How many row groups were admitted before the run gave up depends on the moment.
    options = {"varies": outcome == _DEAD, **options}
    CASES.append(Case(fault, "endpoint", outcome, play, **options))


def _own_model(name: str, **options: Any) -> Callable[[str], dict[str, Any]]:
    """A config with a model of its own: push-backs change the limit that all runs of a process share."""
    return functools.partial(reviews, model=name, **options)


_endpoint(
    "429 on 5 % of the calls, Retry-After in seconds",
    "completed",
    behaviour={"errors": ["429:0.05"], "retry_after": 0},
    config=_own_model("throttled"),
)
_endpoint(
    "429 on 5 % of the calls, Retry-After as a date",
    "completed",
    behaviour={"errors": ["429:0.05"], "retry_after": 0, "retry_after_form": "date"},
    config=_own_model("throttled-by-date"),
)
_endpoint(
    "503 with Retry-After on 5 % of the calls",
    "completed",
    behaviour={"errors": ["503:0.05"], "retry_after": 0},
    config=_own_model("unavailable"),
)
_endpoint("429 above four calls at a time", "completed", behaviour={"max_in_flight": 4}, config=_own_model("narrow"))
for _fault in ("500", "503", "reset", "cut-off"):
    _endpoint(f"{_fault} on 5 % of the calls", "completed", behaviour={"errors": [f"{_fault}:0.05"]})
for _fault in ("empty", "html", "truncated", "no-choices", "wrong-shape"):
    _endpoint(f"{_fault} on 20 % of the calls", "completed", behaviour={"errors": [f"{_fault}:0.2"]})
_endpoint("bad-json on 20 % of the calls", "completed", behaviour={"errors": ["bad-json:0.2"]}, config=ratings)
_endpoint(
    "hang on 3 % of the calls",
    "completed",
    behaviour={"errors": ["hang:0.03"]},
    config=functools.partial(reviews, timeout=0.4),
)
_endpoint("first try of every call: 500", "completed", behaviour={"fail_first": 1, "fail_first_code": "500"})

# --- An endpoint that fails some rows for good: these rows are rejected, the others are there ---------------------

_SOME = {"disable_early_shutdown": True, "max_retries": 0, "salvage_rounds": 0, "max_conversation_restarts": 1}
for _fault in ("400", "500", "empty", "truncated"):
    _endpoint(
        f"{_fault} on every call of some rows",
        "ShortfallError",
        behaviour={"fail_prompt_regex": r"about sad", "fail_prompt_code": _fault},
        run=_SOME,
    )
_endpoint(
    "400 on every call of some rows, on_shortfall: warn",
    "partial",
    behaviour={"fail_prompt_regex": r"about sad", "fail_prompt_code": "400"},
    run={**_SOME, "on_shortfall": "warn"},
)
_endpoint(
    "bad-json on every structured call of some rows",
    "ShortfallError",
    behaviour={"fail_prompt_regex": r"Rate glad", "fail_prompt_code": "bad-json"},
    run={**_SOME, "max_conversation_correction_steps": 1},
    config=ratings,
)

# --- An endpoint that is gone: the run ends early, and a resume goes on -------------------------------------------

for _fault in ("400", "401", "empty", "html", "wrong-shape"):
    _endpoint(f"{_fault} on every call", _DEAD, behaviour={"errors": [_fault]}, run={"max_conversation_restarts": 0})
_endpoint("bad-json on every call", _DEAD, behaviour={"errors": ["bad-json"]}, config=ratings)
for _fault in ("500", "503", "reset", "cut-off"):
    _endpoint(f"{_fault} on every call", _DEAD, behaviour={"errors": [_fault]})
_endpoint(
    "429 on every call, for ever",
    _DEAD,
    behaviour={"errors": ["429"], "retry_after": 0},
    config=_own_model("throttled-for-ever"),
)
_endpoint(
    "hang on every call",
    _DEAD,
    behaviour={"errors": ["hang"]},
    config=functools.partial(reviews, timeout=0.3),
    run={"retry_deadline_seconds": 1.0},
)
# Of the latest cells fourteen at least fail, whatever the order: less than the usual rate is sure to be exceeded.
_EASILY_STOPPED = {"shutdown_error_rate": 0.2}
_endpoint(
    "401 from the thirtieth call on",
    _DEAD,
    behaviour={"down_after": 30, "down_code": "401"},
    run=_EASILY_STOPPED,
    varies=True,
)
_endpoint("500 from the thirtieth call on", _DEAD, behaviour={"down_after": 30, "down_code": "500"}, varies=True)


@case("connection refused", "endpoint", _DEAD, unseen_calls=True)
def _refused(world: World) -> Attempt:
    return _elsewhere(world, reviews(f"http://127.0.0.1:{free_port()}/v1"))


@case("killed in the middle of calls, and back only for the resume", "endpoint", _DEAD, varies=True, unseen_calls=True)
def _server_killed(world: World) -> Attempt:
    with ServerOnPort(free_port()) as server:
        world.config = reviews(server.url)
        world.kill_server_after(server, answers=20)
        attempt = world.build()
    world.move_to(server.port)
    return attempt


@case("killed in the middle of calls, and back at once", "endpoint", "completed", unseen_calls=True)
def _server_restarted(world: World) -> Attempt:
    with ServerOnPort(free_port()) as server:
        world.config = reviews(server.url)
        world.kill_server_after(server, answers=20, then=lambda: world.move_to(server.port))
        return world.build(retry_deadline_seconds=60.0, shutdown_error_window=1_000, max_retries=10)


def _elsewhere(world: World, config: dict[str, Any]) -> Attempt:
    """Build with another endpoint's address; the right one is back afterwards."""
    own, world.config = world.config, config
    try:
        return world.build()
    finally:
        world.config = own


# --- Storage that takes no more: the run fails, what is committed stays -------------------------------------------

_FULL = "SinkError"


def _with_processor(function: str, stage: str) -> Callable[[str], dict[str, Any]]:
    processor = {
        "name": "user's",
        "processor_type": "custom",
        "stage": stage,
        "function": f"tests.reliability.user_code:{function}",
    }
    return functools.partial(reviews, processors=[processor])


def _full_at_commit(world: World, *, blocks: int) -> Attempt:
    """Build on a disk that has room for so many blocks when the first row group is committed."""
    disk = world.disk("4m")
    world.path = disk / "dataset"
    world.break_user_code(disk=str(disk), blocks=blocks)
    attempt = world.build(max_concurrent_row_groups=1)
    _make_room(world)
    return attempt


def _make_room(world: World) -> None:
    (world.disk("64m") / "filler").unlink(missing_ok=True)


@case("disk full", "part", _FULL, config=_with_processor("fill_disk", "post_batch"))
def _no_room_for_part(world: World) -> Attempt:
    attempt = _full_at_commit(world, blocks=0)
    assert "data/part-00000.parquet: No space left" in attempt.output
    return attempt


@case("disk full", "manifest", _FULL, config=_with_processor("fill_disk", "post_batch"))
def _no_room_for_manifest(world: World) -> Attempt:
    for blocks in range(1, 20):
        attempt = _full_at_commit(world, blocks=blocks)
        if "manifests/part-00000.json: No space left" in attempt.output:
            break
    else:
        raise AssertionError(f"no size at which the manifest alone does not fit: {attempt.output}")
    return attempt


@case("disk full", "journal", _FULL, varies=True, paid_twice=CEILING)
def _no_room_for_journal(world: World) -> Attempt:
    disk = world.disk("4m")
    world.path = disk / "dataset"
    attempt = world.build(callback=lambda outcome: fill(disk, blocks=0), max_concurrent_row_groups=1)
    assert "journal" in attempt.output
    _make_room(world)
    return attempt


@case("disk full", "metadata", _FULL, config=_with_processor("fill_disk", "post_batch"))
def _no_room_for_metadata(world: World) -> Attempt:
    disk = world.disk("4m")
    world.path = disk / "dataset"

    def fill_at_the_end(outcome: RowGroupOutcome) -> None:
        if outcome.index == 3:
            fill(disk, blocks=0)

    attempt = world.build(callback=fill_at_the_end, max_concurrent_row_groups=1)
    assert "metadata.json: No space left" in attempt.output
    _make_room(world)
    return attempt


@case("disk full", "start", _FULL)
def _no_room_at_all(world: World) -> Attempt:
    disk = world.disk("1m")
    world.path = disk / "dataset"
    fill(disk, blocks=0)
    attempt = world.build()
    _make_room(world)
    return attempt


@case("disk full", "after-generation output", _FULL, config=_with_processor("all_rows", "after_generation"))
def _no_room_to_publish(world: World) -> Attempt:
    disk = world.disk("4m")
    world.path = disk / "dataset"

    def fill_at_the_end(outcome: RowGroupOutcome) -> None:
        if outcome.index == 3:
            fill(disk, blocks=0)

    attempt = world.build(callback=fill_at_the_end, max_concurrent_row_groups=1)
    _make_room(world)
    return attempt


@case("read-only file system", "start", _FULL)
def _read_only(world: World) -> Attempt:
    world.path.mkdir()
    with world.frozen(world.path):
        return world.build()


@case("read-only file system", "part", _FULL, varies=True)
def _becomes_read_only(world: World) -> Attempt:
    with ExitStack() as thaw:

        def freeze(outcome: RowGroupOutcome) -> None:
            if outcome.index == 0:
                thaw.enter_context(world.frozen(world.path))

        return world.build(callback=freeze, max_concurrent_row_groups=1)


@case("another process is writing it", "dataset", "DatasetLockedError")
def _locked(world: World) -> Attempt:
    world.server.become(hold=True)
    holder = world.child()
    world.server.wait_until(lambda stats: stats.in_flight == CEILING)
    attempt = world.build()
    assert f"process {holder.pid} on host" in attempt.output
    world.lift()
    assert holder.wait() == 0, holder.output
    return attempt


@case("a committed part is gone", "dataset", _FULL, tampered=True)
def _part_gone(world: World) -> Attempt:
    assert world.build().outcome == "completed"
    (world.path / "data" / "part-00001.parquet").unlink()
    attempt = world.build()
    assert "delete manifests/part-00001.json" in attempt.output
    (world.path / "manifests" / "part-00001.json").unlink()
    return attempt


@case("the journal is damaged", "dataset", _FULL, varies=True, paid_twice=CALLS)
def _journal_damaged(world: World) -> Attempt:
    world.server.become(down_after=30, down_code="401")
    assert world.build(**_EASILY_STOPPED).outcome == _DEAD
    journal = world.path / "journal.sqlite"
    journal.write_bytes(b"no database at all, " * 500)
    attempt = world.build()
    assert "move it away" in attempt.output
    journal.unlink()
    return attempt


# --- kill -9: at any step on disk, and with calls in flight -------------------------------------------------------

_KILLED = "killed"


def _killed_at(world: World, *, step: str, number: int = 1, prepare: Play | None = None) -> Attempt:
    world.server.become(latency_ms=2)
    if prepare is not None:
        prepare(world)
    child = world.child(die_at=number, step=step)
    assert child.wait() == -signal.SIGKILL, child.output
    assert child.last_step is not None
    return Attempt(_KILLED, output=child.last_step)


def _kill(step: str, where: str, *, number: int = 1, prepare: Play | None = None, **options: Any) -> None:
    play = functools.partial(_killed_at, step=step, number=number, prepare=prepare)
    CASES.append(
        Case(f"kill -9 before: {step}", where, _KILLED, play, varies=True, paid_twice=CEILING, killed=True, **options)
    )


_kill("rename .lock.json", "start")
_kill("rename config.yaml", "start")
_kill("rename run.json", "start")
for _step in ("create", "fill", "flush", "rename"):
    _kill(f"{_step} data/part-00001", "part")
_kill("flush data/", "part", number=2)
for _step in ("create", "rename"):
    _kill(f"{_step} manifests/part-00001", "manifest")
_kill("flush manifests/", "manifest", number=2)
_kill("rename metadata.json", "metadata")
_STAGED = _with_processor("all_rows", "after_generation")
_kill("rename .data.building/part-00000", "after-generation output", config=_STAGED)
_kill("exchange data/", "after-generation output", config=_STAGED)
_kill("delete .data.building/", "after-generation output", config=_STAGED, number=1)


@case("kill -9", "calls in flight", _KILLED, killed=True)
def _killed_in_flight(world: World) -> Attempt:
    world.server.become(hold=True)
    child = world.child()
    world.server.wait_until(lambda stats: stats.in_flight == CEILING)
    child.send(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    world.server.wait_until(lambda stats: stats.in_flight == 0)
    return Attempt(_KILLED)


# --- Signals and time-outs ----------------------------------------------------------------------------------------


def _signalled(world: World, *, number: signal.Signals) -> Attempt:
    """Send a signal while calls are in flight; they come back, and what they complete is committed."""
    world.server.become(hold=True)
    child = world.child(max_concurrent_row_groups=1)
    world.server.wait_until(lambda stats: stats.in_flight == 6)
    child.send(number)
    wait_for(lambda: "stopping" in child.output, "the run is told to stop")
    world.lift()
    assert child.wait() == 130, child.output
    return Attempt("interrupted", output=child.output)


CASES += [
    Case(number.name, "run", "interrupted", functools.partial(_signalled, number=number), killed=True)
    for number in (signal.SIGINT, signal.SIGTERM)
]


@case("flow timeout", "run", "timed out", varies=True, cancels=True)
def _timed_out(world: World) -> Attempt:
    world.server.become(latency_ms=150)
    return world.build(timeout=1.0)


# --- User code that fails -----------------------------------------------------------------------------------------


def _broken(world: World, **options: Any) -> Attempt:
    world.break_user_code()
    return world.build(**options)


def _user(what: str, outcome: str, config: Callable[[str], dict[str, Any]], **options: Any) -> None:
    CASES.append(Case(what, "user code", outcome, _broken, config=config, cancels=True, **options))


def _custom(function: str, **options: Any) -> Callable[[str], dict[str, Any]]:
    column = {
        "name": "own",
        "column_type": "custom",
        "generator_function": f"tests.reliability.user_code:{function}",
        "input_columns": ["title", "mood"],
        **options,
    }

    def config(url: str) -> dict[str, Any]:
        whole = reviews(url)
        return whole | {"columns": [*whole["columns"], column]}

    return config


_PROCESSOR = "ProcessorError"
_user("pre-batch processor raises", _PROCESSOR, _with_processor("same", "pre_batch"), varies=True)
_user("pre-batch processor drops a row", _PROCESSOR, _with_processor("fewer", "pre_batch"))
_user("pre-batch processor adds a row", _PROCESSOR, _with_processor("more", "pre_batch"))
_user("post-batch processor raises", _PROCESSOR, _with_processor("same", "post_batch"), varies=True)
_user("post-batch processor adds a row", _PROCESSOR, _with_processor("more", "post_batch"))
_user("after-generation processor raises", _PROCESSOR, _with_processor("all_rows", "after_generation"))
_user(
    "custom full column raises",
    _PROCESSOR,
    _custom("lengths", generation_strategy="full_column", dtype="int"),
    varies=True,
    paid_twice=CEILING,
)
_user(
    "custom full column returns a row too few",
    _PROCESSOR,
    _custom("short", generation_strategy="full_column", dtype="int"),
    varies=True,
    paid_twice=CEILING,
)
_user("custom cells raise for some rows", "ShortfallError", _custom("shout"))


@case("on_row_group_complete raises", "user code", _PROCESSOR, varies=True)
def _callback_raises(world: World) -> Attempt:
    world.break_user_code()
    return world.build(callback=user_code.callback)


# --- Ends that the run chooses ------------------------------------------------------------------------------------


@case("max_total_tokens reached", "run", _DEAD, varies=True)
def _tokens_spent(world: World) -> Attempt:
    world.server.become(latency_ms=5)
    return world.build(max_total_tokens=2_000, max_concurrent_row_groups=1)


@case("max_total_tokens reached, and the first try of every call without content", "run", _DEAD, varies=True)
def _restarted_and_stopped(world: World) -> Attempt:
    """Answers that a conversation had only after a restart are found again by the resume."""
    world.server.become(latency_ms=5, fail_first=1, fail_first_code="empty")
    return world.build(max_total_tokens=2_000, max_concurrent_row_groups=1)


def _priced(url: str) -> dict[str, Any]:
    config = reviews(url)
    model = {**config["model_configs"][0], "price": {"input": 1.0, "output": 2.0}}
    return config | {"model_configs": [model]}


@case("max_cost reached", "run", _DEAD, varies=True, config=_priced)
def _money_spent(world: World) -> Attempt:
    world.server.become(latency_ms=5)
    return world.build(max_cost=0.003, max_concurrent_row_groups=1)
