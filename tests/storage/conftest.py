"""Real processes that can be killed, interrupted or starved of disk: one interpreter imports torch, then forks."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVER = """
import json, os, random, resource, shutil, signal, sys, time, traceback
from pathlib import Path
import torch
from paramgen.errors import OutputError
from paramgen.storage import folder as folders
from paramgen.storage import writer as writers
from paramgen.storage.folder import transaction, write_text
from paramgen.storage.plan import Entry, plan
from paramgen.storage.writer import SafetensorsWriter

torch.set_num_threads(1)
torch.ones(8).to(torch.bfloat16)

def run(job):
    try:
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        exec(compile(job["code"], "job", "exec"), {**globals(), "ROOT": Path(job["root"])})
        status = 0
    except SystemExit as leave:
        status = leave.code
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        run(job)
    if job["signal"]:
        ended = 0
        while job["when"] and not os.path.exists(job["when"]) and not ended:
            time.sleep(0.001)
            ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        time.sleep(job["after"])
        os.kill(child, job["signal"])  # whoever has ended is still there until the next line
    _, status, usage = os.wait4(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024]), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    status: int  # as in subprocess: the negated number of the signal that ended it
    memory: int
    output: str


Forked = Callable[..., Outcome]


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "ignore", "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def forked(server: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Forked:
    """Run code in a process of its own, with `ROOT` the test's folder; `signal` ends it `after` seconds."""
    log = tmp_path_factory.mktemp("logs") / "log"

    def run(code: str, *, signal: int = 0, after: float = 0.0, when: Path | None = None) -> Outcome:
        job = {"code": code, "log": str(log), "root": str(tmp_path), "signal": signal, "after": after}
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps({**job, "when": str(when) if when else ""}) + "\n")
        server.stdin.flush()
        status, memory = json.loads(server.stdout.readline())
        return Outcome(status, memory, output=log.read_text())

    return run
