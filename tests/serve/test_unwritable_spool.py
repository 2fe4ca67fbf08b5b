"""Where the spool cannot be written, the server does not start; where that comes later, it says so and lives."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Graphs = Callable[..., dict[str, Any]]


def test_it_does_not_start(tmp_path: Path) -> None:
    environment = {**os.environ, "PARAMGEN_SERVE_SPOOL": str(tmp_path / "gone"), "PARAMGEN_SERVE_PORT": "1"}
    done = subprocess.run([sys.executable, "-m", "serve"], env=environment, capture_output=True, text=True, timeout=600)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2 and line.startswith("error: The spool cannot be written: No such file or directory.")


def test_what_comes_later_is_told_with_a_time_to_come_back(
    serve: Any, graphs: Graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(spool=tmp_path)

    def refusing(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("serve.spool.TemporaryFile", refusing)
        for answer in (running.client.get("/ready"), running.predict({"graph": graphs(), "init": "he"})):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["detail"].startswith("The spool cannot be written: Permission denied.")
    assert running.predict({"graph": graphs(), "init": "he"}).status_code == 200
