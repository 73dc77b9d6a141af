"""The results server, measured from outside: real processes, real HTTP, datasets of 2,000,000 rows in 10,000 parts.

    python benchmarks/server.py [--quick] [--rounds 5] [--only PIECE] [--folder DIR]

Prints one line for each goal with what was measured. The datasets (0.9 GB, made once, about a minute) are kept in the
folder, by default below the system's folder for temporary files. Every load is bounded: it ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from prefect_datagen.engine.outcomes import (
    DatasetMetadata,
    ModelUsage,
    RowGroupManifest,
    RowGroupOutcome,
    Verdict,
)
from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.report import Report

COMMAND = [sys.executable, "-c", "from prefect_datagen.cli.main import main; main()", "serve"]
"""What the installed `prefect-datagen serve` runs."""

WORDS = np.array(["red", "green", "blue", "yellow", "orange", "purple", "black", "white", "grey", "pink"])


# ---- datasets


def make_dataset(root: Path, *, row_groups: int, rows: int, seed: int) -> Path:
    """A dataset of 20 columns as a build leaves it, made without one: manifests, parts, metadata."""
    done = root / "metadata.json"
    if done.exists():
        return root
    for folder in ("data", "manifests"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    manifests = [_row_group(root, index, rows, random) for index in range(row_groups)]
    now = datetime.now(UTC)
    metadata = DatasetMetadata(
        name=root.name,
        status=Verdict.COMPLETE,
        target_num_records=row_groups * rows,
        actual_num_records=row_groups * rows,
        row_group_size=rows,
        row_groups=[RowGroupOutcome(index=item.index, outcome=item.outcome, manifest=item) for item in manifests],
        seed=seed,
        fingerprint="benchmark",
        started_at=now,
        ended_at=now,
        seconds=1.0,
    )
    done.write_text(metadata.model_dump_json())
    return root


def _row_group(root: Path, index: int, rows: int, random: np.random.Generator) -> RowGroupManifest:
    columns: dict[str, Any] = {"id": np.arange(index * rows, (index + 1) * rows)}
    columns |= {f"number_{n}": random.normal(size=rows) for n in range(6)}
    columns |= {f"whole_{n}": random.integers(0, 1000, rows) for n in range(4)}
    columns |= {f"colour_{n}": WORDS[random.integers(0, len(WORDS), rows)] for n in range(5)}
    for n in range(3):
        columns[f"text_{n}"] = [f"A sentence about {word}, number {index}." for word in columns[f"colour_{n}"]]
    columns["flag"] = random.random(rows) < 0.3
    part = root / "data" / f"part-{index:05d}.parquet"
    pq.write_table(pa.table(columns), part)
    now = datetime.now(UTC)
    manifest = RowGroupManifest(
        index=index,
        start_row=index * rows,
        planned=rows,
        requested=rows,
        written=rows,
        part=f"data/{part.name}",
        part_bytes=part.stat().st_size,
        part_sha256="0" * 64,
        started_at=now,
        ended_at=now,
        stage_seconds={"seed": 0.1, "generate": 1.0, "commit": 0.01},
        usage={"writer": ModelUsage(calls=rows, answers=rows, input_tokens=100 * rows, output_tokens=50 * rows)},
    )
    (root / "manifests" / f"part-{index:05d}.json").write_text(manifest.model_dump_json())
    return manifest


def write_report(path: Path, queries: dict[str, tuple[str, int]], *, limit: int = 10) -> Path:
    """A report of tables: by chart, its source and the milliseconds that its query takes."""
    sources = {source for source, _ in queries.values()}
    databases = {source: path.parent / f"{source}.duckdb" for source in sources if source != "data"}
    import duckdb

    for database in databases.values():
        duckdb.connect(str(database)).close()
    limits = {"max_running": limit}
    spec = {
        "sources": {
            source: {"type": "duckdb", "path": str(databases[source]), "limits": limits}
            if source in databases
            else {"type": "dataset"}
            for source in sorted(sources)
        },
        "charts": {
            name: {"type": "table", "source": source, "sql": f"SELECT sleep_ms({milliseconds}) AS slept, 1 AS value"}
            for name, (source, milliseconds) in queries.items()
        },
    }
    path.write_text(json.dumps(spec))
    return path


# ---- the server and its clients


@dataclass
class Server:
    """A running server process."""

    process: subprocess.Popen[str]
    url: str
    started: float
    session: aiohttp.ClientSession

    async def get(self, path: str) -> Any:
        async with self.session.get(f"{self.url}{path}") as answer:
            return await answer.json()

    async def ready(self) -> None:
        """Wait until the data is loaded."""
        async with self.session.get(f"{self.url}api/datasets", timeout=aiohttp.ClientTimeout(300)) as answer:
            answer.raise_for_status()


@asynccontextmanager
async def serving(*arguments: str | Path, port: int = 0) -> AsyncIterator[Server]:
    """A server process that ends with the block."""
    command = [*COMMAND, *map(str, arguments), "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond, and is what is measured
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            url = (await asyncio.to_thread(process.stdout.readline)).strip()
            yield Server(process, url, started, session)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()


async def charts_of(server: Server, report: str) -> dict[str, float]:
    """Seconds from the request to the shell, to the first chart, and to the last event of a report."""
    began = time.perf_counter()
    times: dict[str, float] = {}
    async with server.session.get(f"{server.url}api/report/{report}/stream") as answer:
        answer.raise_for_status()
        last = b""
        async for piece in answer.content.iter_any():
            last += piece
            for kind in re.findall(rb"^event: (\w+)\n", last, re.MULTILINE):
                times.setdefault(kind.decode(), time.perf_counter() - began)
            last = last[-60:]
    if not re.search(rb'"failed":0}', last):
        raise RuntimeError(f"report {report!r} has charts that failed: {last!r}")
    return times


# ---- the goals

TIMES = [50, 200, 300, 400, 500, 600, 800, 1000, 1500, 2000]
"""Milliseconds that the queries of ten charts take."""


async def first_health(current: Path, base: Path | None) -> float:
    """Seconds from the start of the process to the first 200 of `/api/health`, asked without a pause."""
    port = free_port()
    arguments = [str(current), "--port", str(port), *(["--base", str(base)] if base else [])]
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: ASYNC220
        [*COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            while time.perf_counter() - began < 30:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/api/health") as answer:
                        if answer.status == 200:
                            return time.perf_counter() - began
                except aiohttp.ClientError:
                    await asyncio.sleep(0.005)
        raise TimeoutError("the server did not answer within 30 s")
    finally:
        process.terminate()
        process.wait(10)


WATCHER = """
import http.client, json, sys, threading, time
port, waits = int(sys.argv[1]), []
asked_to_stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), asked_to_stop.set()), daemon=True).start()
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
print("up", flush=True)
until = time.perf_counter() + 600
while not asked_to_stop.is_set() and time.perf_counter() < until:
    began = time.perf_counter()
    try:
        connection.request("GET", "/api/health")
        connection.getresponse().read()
    except ConnectionRefusedError:
        connection.close()
        time.sleep(0.005)
        continue
    waits.append(time.perf_counter() - began)
    time.sleep(0.002)
waits = sorted(waits[1:])  # the first one waits for the server to start, which is another goal
print(json.dumps({"asked": len(waits), "longest": waits[-1], "usual": waits[int(len(waits) * 0.99)]}))
"""
"""Asks `/api/health` again and again over one connection, from a process of its own, until its input is closed."""


@asynccontextmanager
async def watched_health(port: int) -> AsyncIterator[dict[str, float]]:
    """While the block runs, `/api/health` is asked without end; what it took is in the dict after the block."""
    found: dict[str, float] = {}
    watcher = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", WATCHER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert watcher.stdout is not None
    await asyncio.to_thread(watcher.stdout.readline)
    began = time.perf_counter()
    try:
        yield found
        found["seconds"] = time.perf_counter() - began
    finally:
        printed, _ = await asyncio.to_thread(watcher.communicate)
    found |= json.loads(printed)


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


async def stall(current: Path, base: Path) -> dict[str, dict[str, float]]:
    """How long `/api/health` takes: while two datasets load, and while charts, rows and profile are asked for."""
    port = free_port()
    async with AsyncExitStack() as running:
        async with watched_health(port) as loading:
            server = await running.enter_async_context(serving(current, "--base", base, port=port))
            await server.ready()
        async with watched_health(port) as after:
            await asyncio.gather(
                charts_of(server, "dataset"),
                server.get("api/rows?filter=whole_0%20%3D%205&sort=-number_0"),
                server.get("api/profile"),
            )
    return {"loading": loading, "after": after}


async def progressive(small: Path, folder: Path) -> dict[str, float]:
    """Ten charts over three sources, the slowest 2.0 s, the fastest 0.05 s."""
    sources = ["data", "first", "second"]
    queries = {f"chart_{n}": (sources[n % 3], milliseconds) for n, milliseconds in enumerate(TIMES)}
    report = write_report(folder / "ten.yaml", queries)
    async with serving(small, "--report", report) as server:
        await server.ready()
        return await charts_of(server, "ten")


async def prefetched(small: Path, folder: Path) -> float:
    """Seconds until the same ten charts are there where all queries are waited for before any chart is shown."""
    sources = ["data", "first", "second"]
    report = write_report(folder / "whole.yaml", {f"chart_{n}": (sources[n % 3], each) for n, each in enumerate(TIMES)})
    began = time.perf_counter()

    def render() -> None:
        with Report.open(report, data=[small]) as opened, QueryCache() as cache:
            opened.start(cache).views()

    await asyncio.to_thread(render)
    return time.perf_counter() - began


async def synchronous(small: Path, folder: Path) -> float:
    """Seconds for the same ten queries one after the other, as a page that asks for them in order would wait."""
    singles = [write_report(folder / f"single_{n}.yaml", {"chart": ("data", each)}) for n, each in enumerate(TIMES)]
    async with serving(small, *(each for single in singles for each in ("--report", single))) as server:
        await server.ready()
        began = time.perf_counter()
        for single in singles:
            await charts_of(server, single.stem)
        return time.perf_counter() - began


async def shared_names(small: Path, folder: Path) -> int:
    """Executions of one query that three charts ask for under three names."""
    report = write_report(folder / "three.yaml", dict.fromkeys(("a", "b", "c"), ("data", 100)))
    async with serving(small, "--report", report) as server:
        await server.ready()
        await charts_of(server, "three")
        return int((await server.get("api/statistics"))["cache"]["executions"])


async def fifty_clients(small: Path, folder: Path) -> tuple[int, float]:
    """Executions, and seconds until the last of 50 clients has its answer of a 1 s query."""
    report = write_report(folder / "one.yaml", {"only": ("data", 1000)})
    async with serving(small, "--report", report) as server:
        await server.ready()
        began = time.perf_counter()
        await asyncio.gather(*(charts_of(server, "one") for _ in range(50)))
        seconds = time.perf_counter() - began
        return int((await server.get("api/statistics"))["cache"]["executions"]), seconds


async def ten_distinct(small: Path, folder: Path) -> float:
    """Seconds for ten different 1 s queries on one source that takes ten at a time."""
    report = write_report(folder / "distinct.yaml", {f"c{n}": ("first", 1000 + n) for n in range(10)})
    async with serving(small, "--report", report) as server:
        await server.ready()
        return (await charts_of(server, "distinct"))["done"]


async def come_and_go(small: Path, folder: Path, clients: int) -> dict[str, tuple[float, float]]:
    """What the server holds before and after that many clients connected and left in the middle of a stream."""
    report = write_report(folder / "long.yaml", {"fast": ("data", 1), "slow": ("first", 60_000)})
    async with serving(small, "--report", report) as server:
        await server.ready()

        async def visit() -> None:
            async with server.session.get(f"{server.url}api/report/long/stream") as answer:
                await answer.content.readline()
                answer.close()

        async def holds() -> dict[str, float]:
            found = await server.get("api/statistics")
            process = psutil.Process(server.process.pid)
            return {
                "tasks": found["tasks"],
                "threads": process.num_threads(),
                "connections": len(process.net_connections()),
                "in flight": found["cache"]["in_flight"],
                "memory MiB": round(process.memory_info().rss / 2**20, 1),
            }

        async def settled() -> dict[str, float]:
            for _ in range(200):
                now = await holds()
                if now["in flight"] == 0 and now["tasks"] <= 6:
                    return now
                await asyncio.sleep(0.05)
            return await holds()

        # The first visitors fill pools that stay, AnyIO's of 40 threads among them; the others must add nothing.
        for _ in range(4):
            await asyncio.gather(*(visit() for _ in range(50)))
        before = await settled()
        for _ in range(clients // 50):
            await asyncio.gather(*(visit() for _ in range(50)))
        after = await settled()
        return {name: (before[name], after[name]) for name in before}


async def exit_times(current: Path, base: Path, folder: Path) -> dict[str, float]:
    """Seconds from SIGTERM to the end of the process: while loading, and while streaming."""
    report = write_report(folder / "long.yaml", {"slow": ("first", 60_000)})
    times = {}
    for name in ("loading", "streaming"):
        async with serving(current, "--base", base, "--report", report) as server:
            stream = None
            if name == "streaming":
                await server.ready()
                stream = await server.session.get(f"{server.url}api/report/long/stream")
            else:
                await asyncio.sleep(1.0)
            began = time.perf_counter()
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.process.wait, 10)
            times[name] = time.perf_counter() - began
            if stream is not None:
                stream.close()
    return times


async def seen_after_commit(dataset: Path, folder: Path) -> list[float]:
    """Seconds from each of ten commits to a watched dataset until the server tells its page of them."""
    copy = folder / f"watched-{dataset.name}"
    # Links: parts and manifests are only ever added.
    shutil.copytree(dataset, copy, copy_function=os.link)
    (copy / "metadata.json").unlink()
    first = len(os.listdir(copy / "manifests"))
    random = np.random.default_rng(0)
    found = []
    async with serving(copy, "--watch") as server:
        await server.ready()
        timeout = aiohttp.ClientTimeout(total=None)
        async with server.session.get(f"{server.url}api/events", timeout=timeout) as events:
            for index in range(first, first + 10):
                await asyncio.sleep(1.5)
                version = (await server.get("api/health"))["version"]
                _row_group(copy, index, 200, random)
                began = time.perf_counter()
                async for raw in events.content:
                    if raw.startswith(b"data: ") and json.loads(raw[6:])["version"] > version:
                        break
                found.append(time.perf_counter() - began)
                total = (await server.get("api/datasets"))[0]["row_groups"]
                if total != index + 1:
                    raise RuntimeError(f"{total} row groups are shown after {index + 1} commits")
    shutil.rmtree(copy)
    return found


def median(values: list[float]) -> float:
    return statistics.median(values)


def line(goal: str, limit: str, measured: str) -> None:
    print(f"| {goal} | {limit} | {measured} |", flush=True)


async def repeated(rounds: int, measure: Callable[[], Awaitable[float]]) -> str:
    found = [await measure() for _ in range(rounds)]
    return f"{median(found):.2f} s median of {rounds} ({min(found):.2f} to {max(found):.2f})"


@dataclass(frozen=True)
class Bench:
    """Datasets to serve, and how often to measure."""

    current: Path
    base: Path
    small: Path
    size: str
    rounds: int
    folder: Path

    async def health(self) -> None:
        line(
            "first health, small dataset",
            "≤ 0.5 s",
            await repeated(self.rounds, lambda: first_health(self.small, None)),
        )
        both = await repeated(self.rounds, lambda: first_health(self.current, self.base))
        line(f"first health, two datasets of {self.size}", "≤ 0.5 s", both)

    async def stalls(self) -> None:
        for each in await _stalls(self.rounds, self.current, self.base):
            line(*each)

    async def watching(self) -> None:
        for name, dataset in (("small dataset", self.small), (self.size, self.current)):
            found = await seen_after_commit(dataset, self.folder)
            shown = f"{median(found):.2f} s median of {len(found)} ({min(found):.2f} to {max(found):.2f})"
            line(f"a commit to the page, {name}", "≤ 1 s", shown)

    async def charts(self) -> None:
        runs = [await progressive(self.small, self.folder) for _ in range(self.rounds)]
        shown = " / ".join(f"{median([each[kind] for each in runs]):.2f}" for kind in ("shell", "chart", "done"))
        line("10 charts over 3 sources: shell / first / all", "≤ 0.1 / 0.3 / 2.3 s", f"{shown} s")
        at_once = [await prefetched(self.small, self.folder) for _ in range(self.rounds)]
        line("the same, all prefetched, then shown: first and all", "", f"{median(at_once):.2f} s")
        one_by_one = await synchronous(self.small, self.folder)
        line("the same, one after the other: all", "", f"{one_by_one:.2f} s")

    async def sharing(self) -> None:
        line("one query under three names", "1 execution", f"{await shared_names(self.small, self.folder)} execution")
        executions, seconds = await fifty_clients(self.small, self.folder)
        line("50 clients, one 1 s query", "1 execution, ≤ 1.3 s", f"{executions} execution, {seconds:.2f} s")
        ten = await repeated(self.rounds, lambda: ten_distinct(self.small, self.folder))
        line("10 distinct 1 s queries, limit 10", "≤ 1.5 s", ten)

    async def leaving(self) -> None:
        held = await come_and_go(self.small, self.folder, 500)
        shown = ", ".join(f"{name} {before:g} → {after:g}" for name, (before, after) in held.items())
        line("500 connects and disconnects mid-stream", "back to where they were", shown)
        exits = await exit_times(self.current, self.base, self.folder)
        shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in exits.items())
        line("SIGTERM to exit", "≤ 5 s", shown)


PIECES: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "health": Bench.health,
    "stalls": Bench.stalls,
    "watching": Bench.watching,
    "charts": Bench.charts,
    "sharing": Bench.sharing,
    "leaving": Bench.leaving,
}


async def run(arguments: argparse.Namespace) -> None:
    kept = Path(arguments.folder)
    row_groups = 500 if arguments.quick else 10_000
    current = make_dataset(kept / f"current-{row_groups}", row_groups=row_groups, rows=200, seed=1)
    base = make_dataset(kept / f"base-{row_groups}", row_groups=row_groups, rows=200, seed=2)
    small = make_dataset(kept / "small", row_groups=5, rows=100, seed=3)
    size = f"{row_groups * 200:,} rows, {row_groups:,} manifests each"
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| what | goal | measured |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(current, base, small, size, arguments.rounds, Path(temporary))
        for name in arguments.only or PIECES:
            await PIECES[name](bench)


async def _stalls(rounds: int, current: Path, base: Path) -> list[tuple[str, str, str]]:
    runs = [await stall(current, base) for _ in range(rounds)]
    found = []
    for when in ("loading", "after"):
        longest = [each[when]["longest"] * 1000 for each in runs]
        usual = median([each[when]["usual"] * 1000 for each in runs])
        seconds = median([each[when]["seconds"] for each in runs])
        shown = f"{median(longest):.0f} ms median of {rounds} ({min(longest):.0f} to {max(longest):.0f}), "
        shown += f"99 % within {usual:.0f} ms, over {seconds:.1f} s"
        found.append((f"longest stall of health, {when}", "≤ 100 ms", shown))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="datasets of 100,000 rows in 500 parts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=PIECES, help="one piece of it; may be given again")
    parser.add_argument("--folder", default=str(Path(tempfile.gettempdir()) / "prefect-datagen-bench"))
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
