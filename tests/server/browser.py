"""A headless Chromium driven over the DevTools protocol: as much of it as the tests of the page need."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import connect

DEADLINE = 30.0

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """The browser's path, where it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class PageError(AssertionError):
    """A script in the page failed."""


class Browser:
    """One page of one browser. `problems` holds what its console said of errors and broken policies."""

    def __init__(self, *, width: int = 1280, height: int = 900, patience: float = DEADLINE) -> None:
        """`patience` is how many seconds a page may take to become what is waited for."""
        self._patience = patience
        path = chromium()
        assert path is not None
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={self._folder.name}", f"--window-size={width},{height}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._next = 0
        self.problems: list[str] = []
        self._socket = connect(self._page_address(), max_size=2**26)
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def _page_address(self) -> str:
        import urllib.request

        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "DevTools listening on " in line:
                host = line.rpartition("ws://")[2].partition("/")[0]
                break
        else:
            raise AssertionError("Chromium did not start")
        with urllib.request.urlopen(f"http://{host}/json") as answer:
            pages = [each for each in json.load(answer) if each["type"] == "page"]
        address: str = pages[0]["webSocketDebuggerUrl"]
        return address

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its answer; events that come meanwhile are looked at for problems."""
        self._next += 1
        self._socket.send(json.dumps({"id": self._next, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=DEADLINE))
            if message.get("id") == self._next:
                if "error" in message:
                    raise PageError(message["error"]["message"])
                answer: dict[str, Any] = message["result"]
                return answer
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            entry = message["params"]["entry"]
            self.problems.append(f"{entry['text']} {entry.get('url', '')}")

    def open(self, url: str) -> None:
        """Go to an address."""
        self.send("Page.navigate", url=url)

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Give the page another size."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def prefer(self, scheme: str) -> None:
        """Let the system be `light` or `dark`."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true in the page."""
        until = time.monotonic() + self._patience
        while time.monotonic() < until:
            try:
                value = self.run(
                    "new Promise((done) => { const until = performance.now() + 2000; const look = () => "
                    f"{{ let value = false; try {{ value = Boolean({script}); }} catch {{ /* not there yet */ }} "
                    "if (value || performance.now() > until) done(value); else setTimeout(look, 20); }; look(); })"
                )
            except PageError as error:
                if "context" not in str(error):  # the page was on its way to another address
                    raise
                continue
            if value is True:
                return
        body = self.run("document.body.innerText")
        raise AssertionError(f"never true: {script}; problems: {self.problems}; the page says: {body[:2000]}")

    def text(self, selector: str) -> str:
        """The visible text of the first element that a selector finds, once there is one."""
        self.wait(f"document.querySelector({json.dumps(selector)})")
        text: str = self.run(f"document.querySelector({json.dumps(selector)}).innerText")
        return text

    def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element, as a person does."""
        found = json.dumps(selector)
        self.wait(f"document.querySelector({found})?.getClientRects().length")
        place = self.run(
            f"(() => {{ const e = document.querySelector({found}); e.scrollIntoView({{block: 'center'}}); "
            "const r = e.getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key: `Tab`, `Enter`, `ArrowRight`, ..."""
        codes = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "Escape": 27}
        typed = {"text": "\r"} if key == "Enter" else {}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **typed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path: Path) -> None:
        """A picture of what is visible."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """End the browser."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(DEADLINE)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
