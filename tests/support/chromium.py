"""Chromium without a window, driven over a pipe by its DevTools protocol."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.support.wait import wait_until

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WAY_OUT = (
    "the pages' tests need Chromium on PATH; on Debian and Ubuntu: apt-get install --no-install-recommends chromium"
)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-background-networking", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--hide-scrollbars",
)  # fmt: skip


def find_browser() -> str:
    """Return the path of Chromium."""
    if path := next((path for name in BROWSERS if (path := shutil.which(name))), None):
        return path
    raise RuntimeError(WAY_OUT)


class Page:
    """A page, with what it requests and what its console shows."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes], numbers: Iterator[int] | None = None) -> None:
        self._requests, self._answers = requests, answers
        self._numbers, self._session = numbers or itertools.count(1), ""
        self.events = list[dict[str, Any]]()
        """Everything that the browser has told, in order."""
        # In a window of its own, so that it is not hidden by another page.
        target = self._call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Network", "Runtime", "Log", "Page"):
            self._call(f"{domain}.enable")

    def another(self) -> Page:
        """Return another page of the same browser."""
        return Page(self._requests, self._answers, self._numbers)

    def open(self, url: str) -> None:
        """Go to an address, and wait until its page is loaded."""
        self._call("Page.navigate", url=url)
        wait_until(lambda: self.run("location.href") == url and self.run("document.readyState") == "complete", what=url)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def show_as(self, width: int, scheme: str = "light") -> None:
        """Show pages as wide as this, in a color scheme."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    @property
    def requested(self) -> list[str]:
        """The addresses that were requested."""
        return [told["request"]["url"] for told in self._told("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """What the console shows as a warning or an error."""
        entries = [told["entry"]["text"] for told in self._told("Log.entryAdded")]
        entries += [str(told["args"]) for told in self._told("Runtime.consoleAPICalled")]
        return entries + [str(told["exceptionDetails"]) for told in self._told("Runtime.exceptionThrown")]

    def _told(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        self._requests.write(
            json.dumps({"id": number, "method": method, "params": parameters, **session}).encode() + b"\0"
        )
        self._requests.flush()
        while (message := self._next()).get("id") != number:
            self.events.append(message)
        assert "result" in message, message
        result: dict[str, Any] = message["result"]
        return result

    def _next(self) -> dict[str, Any]:
        read = bytearray()
        while (one := self._answers.read(1)) != b"\0":
            assert one, "the browser has ended"
            read += one
        message: dict[str, Any] = json.loads(read)
        return message


@contextmanager
def browsing() -> Iterator[Page]:
    """Start Chromium, and yield a page of it."""
    theirs, requests = os.pipe()
    answers, theirs_too = os.pipe()
    # It takes the file descriptors 3 and 4. bash is there to name them.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                "bash", "-c", f'exec "$@" 3<&{theirs} 4>&{theirs_too}', "bash", find_browser(), *OPTIONS,
                "--remote-debugging-pipe", f"--user-data-dir={Path(profile)}",
            ],
            pass_fds=(theirs, theirs_too), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "HOME": profile},
        )  # fmt: skip
        os.close(theirs)
        os.close(theirs_too)
        with process, os.fdopen(requests, "wb") as sent, os.fdopen(answers, "rb") as told:
            try:
                yield Page(sent, told)
            finally:
                process.kill()
