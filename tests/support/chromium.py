"""A headless Chromium and one page in it, driven over a pipe by the DevTools protocol: there is nothing to install."""

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-pipe"
).split()
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowDown": 40}


class Page:
    """What a user does and sees."""

    def __init__(self, send_to: int, read_from: int) -> None:
        self._to, self._from = send_to, read_from
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            self._events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._from, 1 << 16)
            assert piece, "the browser is gone"
            self._rest += piece
        one, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(one)
        return message

    def run(self, script: str) -> Any:
        done = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, script: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, script
            time.sleep(0.05)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.until("document.readyState == 'complete'")

    def press(self, key: str) -> None:
        code = KEYS[key]
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def screen(self, width: int, height: int, *, scheme: str = "light") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def complaints(self) -> list[str]:
        """Return what the browser has against the page: errors, refusals by its policy, uncaught exceptions."""
        found = [event["params"] for event in self._events if event["method"] == "Runtime.exceptionThrown"]
        entries = [event["params"]["entry"] for event in self._events if event["method"] == "Log.entryAdded"]
        return [json.dumps(one) for one in (*found, *(one for one in entries if one["level"] in ("error", "warning")))]


@contextmanager
def chromium() -> Iterator[Page]:
    assert EXECUTABLE is not None
    theirs, to = os.pipe()
    back, from_them = os.pipe()
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium reads descriptor 3 and writes 4, which bash gives it from whatever numbers they have here.
        script = f'exec "$0" "$@" 3<&{theirs} 4>&{from_them}'
        command = ["bash", "-c", script, EXECUTABLE, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, pass_fds=(theirs, from_them), stdout=quiet, stderr=quiet)
        os.close(theirs)
        os.close(from_them)
        try:
            yield Page(to, back)
        finally:
            process.terminate()
            process.wait(timeout=120)
            os.close(to)
            os.close(back)
