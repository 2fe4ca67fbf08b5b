"""What holds for every test: one thread, no network, and property tests that try the same examples everywhere.

Commands are run as a user runs them, in processes of their own, with real exit codes and streams; one interpreter has
imported the libraries before and forks for each.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import settings

import tests.support.type_checks  # noqa: F401

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PARAMGEN_GRAPH_CACHE", "off")

# A deadline would make a slow machine fail; random examples would make CI fail on a change that is not at fault.
settings.register_profile("paramgen", deadline=None, derandomize=True)
settings.load_profile("paramgen")

SERVER = """
import gc, json, os, pty, resource, signal, sys, time
import torch
import paramgen.prediction, paramgen.cli.output, paramgen.output.write
from typer.testing import CliRunner
from paramgen.cli.app import app
from paramgen.architectures import sources
from paramgen.initializers import initializers

initializers.names(), sources.names()
# What else is imported at first use:
paramgen.predict(torch.nn.Linear(1, 1), init="library").state_dict()
CliRunner().invoke(app, ["list", "initializers"])
CliRunner().invoke(app, ["predict"])
for arch in ("timm:test_vit", "torchvision:squeezenet1_1", "transformers:gpt2", "diffusers:AutoencoderKL"):
    paramgen.predict(arch, init="library")
gc.freeze()

def run(job, terminal):
    if terminal is not None:
        os.setsid()
        for stream in (0, 1, 2):
            os.dup2(terminal, stream)
    else:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(job["log"] + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if job["limit"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit"], job["limit"]))
    sys.argv = ["paramgen", *job["arguments"]]
    status = 1
    try:
        exec(job["code"], {"__name__": "__main__"})
        status = 0
    except SystemExit as leave:
        status = leave.code or 0
    except BaseException:
        import traceback
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(status)

def listened(terminal):
    heard = b""
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # the child has closed its end
            return heard
        if not part:
            return heard
        heard += part

for line in sys.stdin:
    job = json.loads(line)
    ours, theirs = pty.openpty() if job["terminal"] else (None, None)
    child = os.fork()
    if child == 0:
        run(job, theirs)
    ended = 0
    if job["signal"]:
        while job["when"] and not os.path.exists(job["when"]) and not ended:
            time.sleep(0.001)
            ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(job["after"])
        if not ended:
            os.kill(child, job["signal"])
    heard = ""
    if ours is not None:
        os.close(theirs)
        heard = listened(ours).decode()
        os.close(ours)
    if not ended:
        _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), heard]), flush=True)
"""

TINY = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        return self.head(self.norm(self.conv(images)).relu().mean((2, 3)))

def build(width=8):
    return Tiny(width)
"""


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit status (negative: the signal that ended it) and what it printed."""

    status: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line of a command that was refused."""
        assert self.status == 2, self
        assert not self.out, self
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")


Command = Callable[..., Done]


def application(name: str) -> str:
    """Return what `python -m NAME` runs, in the repository's folder."""
    root = str(Path(__file__).parents[1])
    return f"import os, runpy; os.chdir({root!r}); runpy.run_module({name!r}, run_name='__main__', alter_sys=True)"


@pytest.fixture(scope="session", autouse=True)
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The key with which own modules' folders are signed is not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("data_home")
        patch.setenv("XDG_DATA_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def commands(data_home: Path) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-c", SERVER]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def command(commands: "subprocess.Popen[str]", tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run `paramgen ARGUMENTS` in the test's folder.

    On a terminal everything printed is `out`; `signal` is sent `after` seconds, counted from when the path `when`
    exists; `limit` bounds the size of files; `code` is run before, and `alone` instead.
    """
    log = str(tmp_path_factory.mktemp("streams")) + "/"

    def run(
        *arguments: object,
        terminal: bool = False,
        signal: int = 0,
        after: float = 0.0,
        when: Path | None = None,
        limit: int = 0,
        code: str = "",
        alone: bool = False,
        **environment: str,
    ) -> Done:
        job = {
            "arguments": [str(argument) for argument in arguments],
            "folder": str(tmp_path),
            "environment": environment,
            "log": log,
            "terminal": terminal,
            "signal": signal,
            "after": after,
            "when": str(when or ""),
            "limit": limit,
            "code": code if alone else f"{code}\nfrom paramgen.cli.app import main\nmain()",
        }
        assert commands.stdin is not None and commands.stdout is not None
        commands.stdin.write(json.dumps(job) + "\n")
        commands.stdin.flush()
        status, heard = json.loads(commands.stdout.readline())
        if terminal:
            return Done(status, heard, "")
        return Done(status, Path(log + "out").read_text(), Path(log + "err").read_text())

    return run


@pytest.fixture(scope="session")
def hypernet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small hypernet of our own kind with a random residual: what it predicts differs from the library's."""
    import torch

    from paramgen.hypernets.config import first_light
    from paramgen.hypernets.decoders.low_rank import LowRankConfig
    from paramgen.hypernets.encoders.graphormer import GraphormerConfig
    from paramgen.hypernets.hypernet import Hypernet

    config = first_light()
    assert isinstance(config.encoder, GraphormerConfig) and isinstance(config.decoder, LowRankConfig)
    small = replace(
        config,
        encoder=replace(config.encoder, hidden=16, layers=1, heads=2),
        decoder=replace(config.decoder, rank=2, width=64, max_out=64, max_in=64),
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    hypernet = Hypernet(small)
    assert hypernet.residual is not None
    torch.nn.init.normal_(hypernet.residual.head.weight, std=0.1)
    torch.random.set_rng_state(state)
    folder = tmp_path_factory.mktemp("hypernet") / "small"
    hypernet.save_pretrained(folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's file; its `build` makes a network of convolution, norm and linear layer."""
    file = tmp_path / "own.py"
    file.write_text(TINY, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained diffusion pipeline of a network with few parameters, whose denoiser answers to words."""
    from tests.support.diffusion import flow, network, pipeline_of

    folder = tmp_path_factory.mktemp("pipelines") / "small"
    pipeline_of(network(), flow(), components=4).save_pretrained(folder)
    return folder
