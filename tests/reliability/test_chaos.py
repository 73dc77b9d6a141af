"""kill -9 at random moments of a build, each followed by a resume: `DATAGEN_CHAOS_KILLS` of them, 10 by default.

`make chaos` makes a hundred. `DATAGEN_CHAOS_SEED` draws other moments; where a process was when it died is told by the
test that fails.
"""

from __future__ import annotations

import os
import random
import signal

import pandas as pd
import pytest

from prefect_datagen.storage import DatasetReader
from tests.reliability.child_builds import Child
from tests.reliability.configs import CALLS, CEILING
from tests.reliability.worlds import World

KILLS = int(os.environ.get("DATAGEN_CHAOS_KILLS", "10"))
SEED = os.environ.get("DATAGEN_CHAOS_SEED", "")
STEPS = 120
"""Steps on disk that a moment is drawn from: about as many as a whole build takes."""

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.chaos]


def kill_somewhere(world: World, dice: random.Random) -> tuple[Child, str]:
    """Start a build that is killed at a moment drawn from its steps on disk, or from its calls."""
    if dice.random() < 0.5:
        step = dice.randint(1, STEPS)
        return world.child(die_at=step), f"step {step}"
    calls = dice.randint(0, CALLS)
    child = world.child()
    world.server.wait_until(lambda stats: stats.calls >= calls)
    child.kill()
    return child, f"call {calls}"


@pytest.mark.parametrize("number", range(KILLS))
def test_after_a_kill_at_any_moment_a_resume_makes_the_uninterrupted_dataset(number: int, world: World) -> None:
    """What was committed stays byte for byte, and at most the calls in flight are paid for twice."""
    assert len(world.expected) == world.rows
    world.server.become(latency_ms=4)
    dice = random.Random(f"{SEED}/{number}")
    child, moment = kill_somewhere(world, dice)
    said = f"DATAGEN_CHAOS_SEED={SEED}, kill {number}: {moment}, {child.last_step}"
    assert child.wait() in (0, -signal.SIGKILL), f"{said}\n{child.output}"
    before = world.found()
    assert not before.lost, said
    assert world.resume().outcome == "completed", said
    after = world.found()
    assert {part: after.parts[part] for part in before.parts} == before.parts, said
    pd.testing.assert_frame_equal(DatasetReader(world.path).load(), world.expected, obj=said)
    assert world.paid_twice() <= CEILING, said
    usage, stats = world.metadata().usage["writer"], world.server.stats()
    assert stats.answers - CEILING <= usage.answers <= stats.answers, said


def test_a_build_that_is_killed_again_and_again_comes_to_its_end(world: World) -> None:
    """Every try gets some answers further; none of them is paid for again but those in flight at each kill."""
    kills = 4
    world.server.become(latency_ms=4)
    assert len(world.expected) == world.rows
    world.server.become(latency_ms=4)
    for kill in range(kills):
        child = world.child()
        wanted = (kill + 1) * CALLS // (kills + 1)
        world.server.wait_until(lambda stats, wanted=wanted: stats.calls >= wanted)  # type: ignore[misc]
        child.kill()
        assert child.wait() == -signal.SIGKILL
    assert world.resume().outcome == "completed"
    pd.testing.assert_frame_equal(DatasetReader(world.path).load(), world.expected)
    assert world.paid_twice() <= kills * CEILING
