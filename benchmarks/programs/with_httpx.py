"""The three cells of each row by a plain asyncio program with httpx."""

import asyncio
import json
import sys
import time

import httpx


async def main(url: str, rows: int, parallel: int) -> float:
    """Seconds for all calls."""
    gate = asyncio.Semaphore(parallel)
    limits = httpx.Limits(max_connections=parallel, max_keepalive_connections=parallel)
    async with httpx.AsyncClient(limits=limits, timeout=300) as client:

        async def ask(prompt: str) -> str:
            body = {"model": "mock", "messages": [{"role": "user", "content": prompt}]}
            async with gate:
                reply = await client.post(f"{url}/chat/completions", json=body)
                return reply.json()["choices"][0]["message"]["content"]

        async def row(number: int) -> str:
            a, b = await asyncio.gather(ask(f"First about {number}."), ask(f"Second about {number}."))
            return await ask(f"Join {a} and {b}.")

        started = time.perf_counter()
        await asyncio.gather(*(row(number) for number in range(rows)))
        return time.perf_counter() - started


seconds = asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
print(json.dumps({"made_seconds": seconds, "rows": int(sys.argv[2])}))
