"""The three cells of each row by a plain asyncio program with the openai client."""

import asyncio
import json
import sys
import time

from openai import AsyncOpenAI


async def main(url: str, rows: int, parallel: int) -> float:
    """Seconds for all calls."""
    gate = asyncio.Semaphore(parallel)
    async with AsyncOpenAI(base_url=url, api_key="none", timeout=300) as client:

        async def ask(prompt: str) -> str:
            async with gate:
                reply = await client.chat.completions.create(
                    model="mock", messages=[{"role": "user", "content": prompt}]
                )
                return reply.choices[0].message.content or ""

        async def row(number: int) -> str:
            a, b = await asyncio.gather(ask(f"First about {number}."), ask(f"Second about {number}."))
            return await ask(f"Join {a} and {b}.")

        started = time.perf_counter()
        await asyncio.gather(*(row(number) for number in range(rows)))
        return time.perf_counter() - started


seconds = asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
print(json.dumps({"made_seconds": seconds, "rows": int(sys.argv[2])}))
