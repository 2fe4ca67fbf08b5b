"""Killed, interrupted, out of disk: the target is absent or whole, and the next run clears the rest away."""

import json
import os
import random
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

if TYPE_CHECKING:
    from conftest import Forked

WORK = """
import json
from paramgen.storage.unaltered import digests_of

def state(run):
    return {f"slot{number}": torch.full((number + 1, 9973), float(run)) for number in range(10)}

def produce(run, *, at=None, overwrite=True, max_shard="900KB"):
    entries = [Entry(name, tuple(tensor.shape), torch.float32) for name, tensor in state(run).items()]
    with transaction(ROOT / "a" / "out", overwrite=overwrite) as folder:
        with SafetensorsWriter(plan(entries, max_shard=max_shard), folder) as writer:
            for count, (name, tensor) in enumerate(state(run).items()):
                if count == at:
                    kill()
                writer.write(name, tensor)
        record = {"run": run, "digests": digests_of(folder)}
        (folder / "paramgen.json").write_text(json.dumps(record))

def kill():
    os.kill(os.getpid(), signal.SIGKILL)
"""

STUCK = """
def stuck(*arguments, writes=iter(range(10**9))):
    if next(writes) == {at}:
        (ROOT / "begun").touch()
        for _ in range(1000):  # a signal that comes just before a long sleep would not end it
            time.sleep(0.1)
    return pwrite(*arguments)
pwrite, writers.os.pwrite = os.pwrite, stuck
"""


def run_of(folder: Path) -> int | None:
    """Load what stands there, insist that it is whole, and return which run wrote it."""
    if not folder.exists():
        return None
    run = json.loads((folder / "paramgen.json").read_text())["run"]
    tensors = {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
    assert len(tensors) == 10
    for number in range(10):
        assert tensors[f"slot{number}"].equal(torch.full((number + 1, 9973), float(run)))
    assert len(list(folder.iterdir())) == 5  # three shards, their index, and our mark
    return run


def leftovers(root: Path) -> list[str]:
    return sorted(name for name in os.listdir(root / "a") if name != "out") if (root / "a").exists() else []


@pytest.mark.parametrize("times", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment(tmp_path: Path, forked: "Forked", times: int) -> None:
    """Writing is slowed down to 50 ms, so that most kills come within it; some come while it is brought to disk.

    The first kill finds it in the middle of writing, however slow the machine is.
    """
    work = f"""{WORK}
def slow(*arguments):
    time.sleep(0.004)
    return pwrite(*arguments)
pwrite, writers.os.pwrite = os.pwrite, slow
(ROOT / "begun").touch()
"""
    assert forked(f"{work}\nproduce(0)").status == 0
    before, partials = run_of(tmp_path / "a" / "out"), 0
    moments = random.Random(times)
    for run in range(1, times + 1):
        (tmp_path / "begun").unlink()
        after = 0.08 * (run - moments.random()) / times
        code = work if run > 1 else f"{WORK}{STUCK.format(at=3)}"
        outcome = forked(f"{code}\nproduce({run})", signal=signal.SIGKILL, after=after, when=tmp_path / "begun")
        now = run_of(tmp_path / "a" / "out")
        assert now in (before, run)
        assert outcome.status in (0, -signal.SIGKILL), outcome.output
        assert len(leftovers(tmp_path)) <= 1  # of this run; those of earlier ones are gone
        before, partials = now, partials + len(leftovers(tmp_path))
    assert partials, "the first kill left nothing, although it came while something was being written"
    assert forked(f"{work}\nproduce(99)").status == 0
    assert run_of(tmp_path / "a" / "out") == 99
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("produce(2, at=0)", 1),
        ("produce(2, at=9)", 1),
        ("folders._publish = lambda *_: kill()\nproduce(2)", 1),
        ("folders.shutil.rmtree = lambda *_, **__: kill()\nproduce(2)", 2),  # swapped, the old one not yet removed
    ],
    ids=["first tensor", "last tensor", "before the name", "after the name"],
)
def test_killed_while_overwriting(tmp_path: Path, forked: "Forked", where: str, expected: int) -> None:
    assert forked(f"{WORK}\nproduce(1)").status == 0
    outcome = forked(f"{WORK}\n{where}")
    assert outcome.status == -signal.SIGKILL, outcome.output
    assert run_of(tmp_path / "a" / "out") == expected
    assert len(leftovers(tmp_path)) == 1
    assert forked(f"{WORK}\nproduce(3)").status == 0
    assert run_of(tmp_path / "a" / "out") == 3
    assert leftovers(tmp_path) == []


def test_killed_before_anything_was_there(tmp_path: Path, forked: "Forked") -> None:
    assert forked(f"{WORK}\nproduce(1, at=5)").status == -signal.SIGKILL
    assert run_of(tmp_path / "a" / "out") is None
    assert len(leftovers(tmp_path)) == 1
    assert forked(f"{WORK}\nproduce(2, overwrite=False)").status == 0
    assert run_of(tmp_path / "a" / "out") == 2
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("at", [0, 1, 5, 9])
def test_interrupted(tmp_path: Path, forked: "Forked", at: int) -> None:
    code = f"""{WORK}
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell has its children ignore it
{STUCK.format(at=at)}
produce(1)
"""
    outcome = forked(code, signal=signal.SIGINT, when=tmp_path / "begun")
    assert outcome.status == 1
    assert outcome.output.rstrip().endswith("KeyboardInterrupt")
    assert os.listdir(tmp_path) == ["begun"]


def test_a_termination_that_raises_leaves_nothing(tmp_path: Path, forked: "Forked") -> None:
    code = f"""{WORK}
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
def kill():
    (ROOT / "begun").touch()
    time.sleep(30)
produce(1, at=5)
"""
    assert forked(code, signal=signal.SIGTERM, when=tmp_path / "begun").status == 143
    assert os.listdir(tmp_path) == ["begun"]


SMALL_DISK = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
(ROOT / "disk").mkdir(exist_ok=True)
NEW_NAMESPACE, NEW_USER, PRIVATE = 0x20000, 0x10000000, (1 << 18) | (1 << 14)
user, group = os.getuid(), os.getgid()

def alone():
    # As root, or as somebody whom the system lets be root of a world of his own.
    if libc.unshare(NEW_NAMESPACE) == 0:
        return True
    if libc.unshare(NEW_NAMESPACE | NEW_USER) != 0:
        return False
    try:
        for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(line)
    except OSError:
        return False
    return True

mounted = (
    alone()
    and libc.mount(b"none", b"/", None, PRIVATE, None) == 0
    and libc.mount(b"tmpfs", bytes(ROOT / "disk"), b"tmpfs", 0, b"size=1m") == 0
)
if not mounted:
    sys.exit(77)
ROOT = ROOT / "disk"
"""

REPORT = """
try:
    produce(1, max_shard="5GB")
except OutputError as error:
    print(error)
for path in ROOT.rglob("*"):
    print("left:", path)
"""


@pytest.mark.parametrize("reserved", [True, False], ids=["at the start", "while writing"])
def test_a_full_disk(forked: "Forked", reserved: bool) -> None:
    blind = "" if reserved else "writers._reserved = lambda *_: False\nwriters.shutil.disk_usage = lambda _: disk\n"
    blind += "disk = type('Usage', (), {'total': 0, 'free': 0})\n"
    count = (
        "written = []\nSafetensorsWriter.write, write = lambda *a: written.append(write(*a)), SafetensorsWriter.write\n"
    )
    outcome = forked(SMALL_DISK + WORK + blind + count + REPORT + "print(len(written))")
    if outcome.status == 77:
        pytest.skip("no small disk can be mounted here")
    assert outcome.status == 0, outcome.output
    message, written = outcome.output.splitlines()
    assert "No space left on device. Needed are 2,194,8" in message
    assert "free are 1,048,576" in message if reserved else True
    assert written == "0" if reserved else 0 < int(written) < 10


def test_a_full_disk_for_the_other_files(forked: "Forked") -> None:
    code = """
def fill(target):
    with transaction(target) as folder:
        (folder / "x").write_text("x" * 2_000_000)

for work in (lambda: write_text(ROOT / "g.json", "x" * 2_000_000), lambda: fill(ROOT / "out")):
    try:
        work()
    except OutputError as error:
        print(error)
for path in ROOT.rglob("*"):
    print("left:", path)
"""
    outcome = forked(SMALL_DISK + code)
    if outcome.status == 77:
        pytest.skip("no small disk can be mounted here")
    assert outcome.status == 0, outcome.output
    lines = outcome.output.splitlines()
    assert len(lines) == 2
    assert all("No space left on device. Pass another place" in line for line in lines)


def test_a_file_size_limit(tmp_path: Path, forked: "Forked") -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
    outcome = forked(WORK + limit + REPORT)
    assert outcome.status == 0, outcome.output
    (message,) = outcome.output.splitlines()
    assert "File too large. Needed are 2,194,8" in message
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("dtype", "tensors", "live"),
    [("float32", 8, 40_000_000), ("bfloat16", 3, 100_000_000)],
    ids=["320 MB one by one", "300 MB converted"],
)
def test_one_tensor_in_memory_at_a_time(tmp_path: Path, forked: "Forked", dtype: str, tensors: int, live: int) -> None:
    """Columns are written as rows, so that every piece is copied; `live` is what the caller holds himself.

    Tensors below 32 MB are not taken: of those, glibc keeps freed ones for later, more or fewer by chance.
    """
    code = """
entries = [Entry(f"slot{{number}}", (2500, {width}), torch.{dtype}) for number in range({tensors})]
with transaction(ROOT / "out{width}") as folder, SafetensorsWriter(plan(entries), folder) as writer:
    for entry in entries:
        writer.write(entry.name, torch.full(entry.shape[::-1], 1.0).T)
"""
    baseline = forked(code.format(width=1, dtype=dtype, tensors=tensors)).memory
    outcome = forked(code.format(width=live // 10_000, dtype=dtype, tensors=tensors))
    assert outcome.status == 0, outcome.output
    size = sum(path.stat().st_size for path in (tmp_path / f"out{live // 10_000}").iterdir())
    assert size > tensors * live * (1.0 if dtype == "float32" else 0.5)
    assert outcome.memory - baseline < live + 20_000_000
