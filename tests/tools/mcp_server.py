"""A real MCP server for tests, by any of the three transports: `python mcp_server.py stdio | sse PORT | http PORT`.

It writes a line to the file that MCP_LOG names when it starts, and one for each call of a tool.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("test tools")


def log(text: str) -> None:
    if path := os.environ.get("MCP_LOG"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


@server.tool()
def lookup(city: str) -> str:
    """What is known of a city."""
    log(f"lookup {city}")
    return f"FACT[{city}]"


@server.tool()
def broken(reason: str) -> str:
    """Always fails."""
    log("broken")
    raise ToolError(f"no luck: {reason}")


@server.tool()
async def slow(city: str) -> str:
    """Takes its time."""
    import anyio

    log("slow")
    await anyio.sleep(30)
    return city


@server.tool()
def dies(city: str) -> str:
    """Ends the server the first time that it is called, in the middle of the call."""
    log("dies")
    if Path(os.environ["MCP_LOG"]).read_text(encoding="utf-8").count("dies") == 1:
        os._exit(3)
    return f"ALIVE[{city}]"


@server.tool()
def secret() -> str:
    """What the environment variable MCP_TOKEN holds."""
    return os.environ.get("MCP_TOKEN", "none")


if __name__ == "__main__":
    log(f"started {os.getpid()}")
    if sys.argv[1] == "stdio":
        server.run("stdio")
    elif sys.argv[1] == "sse":
        server.run("sse", host="127.0.0.1", port=int(sys.argv[2]))
    elif sys.argv[1] == "http":
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    elif sys.argv[1] == "crash":
        print("this server has a broken leg", file=sys.stderr)
        sys.exit(1)
    else:
        time.sleep(60)
