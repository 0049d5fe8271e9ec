"""A headless Chromium, driven through its DevTools protocol over a pipe: no driver, no port, no package.

Pictures of a report for the documentation:

    python tests/chromium.py outputs/comparison/report.html docs
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SECONDS = 60
SCREENSHOTS = {  # width, height, dark, touch
    "report_light": (1360, 1000, False, False),
    "report_dark": (1360, 1000, True, False),
    "report_phone": (390, 844, False, True),
}


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    """One page of a browser of its own; ``requests`` and ``complaints`` hold what it fetched and what went wrong."""

    def __init__(self, profile: Path) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._events: list[dict] = []
        self._rest = b""
        self._last = 0
        self._session: str | None = None
        theirs, self._to = os.pipe()
        self._from, theirs_too = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (theirs, theirs_too)]  # clear of 3 and 4
        self._browser = subprocess.Popen(
            [
                find_chromium(),
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
                *("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(3, 4),
            preexec_fn=lambda: [os.dup2(end, number) for end, number in zip(ends, (3, 4), strict=True)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs, theirs_too, *ends):
            os.close(end)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log", "Network":
            self.call(f"{domain}.enable")

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *error: object) -> None:
        self._session = None
        try:
            self.call("Browser.close")  # not killed: its helpers would go on writing the profile for a moment
            self._browser.wait(SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self._browser.kill()
            self._browser.wait()
        os.close(self._to)
        os.close(self._from)

    def call(self, method: str, **parameters: Any) -> dict:
        """The answer to one command of the protocol."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._last:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _read(self) -> dict:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            if not ready or not (data := os.read(self._from, 1 << 20)):
                raise TimeoutError("Chromium does not answer")  # an OSError
            self._rest += data
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict) -> None:
        method, about = event.get("method"), event.get("params", {})
        self._events.append(event)
        if method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Network.loadingFailed":
            self.complaints.append(f"failed request: {about['errorText']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(about["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(about["entry"]["text"])

    def open(self, path: Path) -> None:
        """Load a file and wait until everything in it is there."""
        self._events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._note(self._read())

    def look(self, width: int, height: int, dark: bool = False, touch: bool = False, scale: float = 1.0) -> None:
        """The size of the screen, and whether its owner likes it dark."""
        size = {"width": width, "height": height}
        self.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=scale, mobile=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """One key, down and up."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"]))


def take_screenshots(report: Path, folder: Path) -> list[Path]:
    """What a report looks like on a light and a dark desktop and on a phone; each below 300 KB."""
    import tempfile

    from PIL import Image

    paths = []
    with tempfile.TemporaryDirectory() as profile, Page(Path(profile)) as page:
        for name, (width, height, dark, touch) in SCREENSHOTS.items():
            page.look(width, height, dark, touch, scale=2.0 if touch else 1.0)
            page.open(report)
            paths.append(folder / f"{name}.png")
            page.screenshot(paths[-1])
            with Image.open(paths[-1]) as image:  # a palette of 256 colours is enough for text and thin lines
                image.convert("RGB").quantize(256).save(paths[-1], optimize=True)
    return paths


if __name__ == "__main__":
    for picture in take_screenshots(Path(sys.argv[1]), Path(sys.argv[2])):
        print(f"{picture}  {picture.stat().st_size / 1000:.0f} KB")
