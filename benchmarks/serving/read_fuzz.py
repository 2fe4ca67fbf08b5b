"""Mutated files: `python -m benchmarks.serving.read_fuzz --reader zoo`; the result is in cards/results/read_fuzz.json.

Good files are changed at random: values of every kind anywhere in JSON, parts left out or added, bytes flipped, cut and
doubled. Each must be read, or refused with one line; what raises anything else is kept, with the change that did it.
The slowest, and how much memory the process gained from its hundredth file on, are told. Files are counted by seed and
number, so that a run that was ended goes on where it was.
"""

import copy
import json
import random
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, final

import typer

from benchmarks.provenance import provenance
from benchmarks.serving.read_fuzz_readers import READERS, Reader
from paramgen.errors import ParamgenError
from paramgen.output.verify import quiet_libraries
from paramgen.storage.folder import write_text

RESULT: Final = Path(__file__).parents[2] / "cards" / "results" / "read_fuzz.json"
LIMIT: Final = 60  # seconds of the processor for one file, whatever else runs beside
KEPT: Final = 5_000  # files, after which the result is written


def _nested(depth: int) -> Any:
    found: Any = {}
    for _ in range(depth):
        found = [found] if depth % 2 else {"a": found}
    return found


HOSTILE: Final[tuple[Any, ...]] = (
    *map(_nested, (65, 300)),
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**12, 10**30, 0.5, 1e308, float("nan"), float("inf"), "", "x"),
    *(
        "\x00",
        "\x1b[31m",
        "\u202e",
        "\ud800",
        "a\nb",
        "../../etc/passwd",
        "hf-hub:someone/evil",
        "__class__",
        "x" * 5000,
    ),
    *([], {}, [[]], [0] * 9, [10**6, 10**6], {"a": [10**9]}, {"": None}, ["os", "system"], 10**4, 10**6),
)
KEYS: Final = (
    "x",
    "",
    "keys",
    "_parameters",
    "attn_implementation",
    "auto_map",
    "quantization_config",
    "backbone",
    "tied",
)


def changed_json(content: bytes, draw: random.Random) -> bytes:
    """Return a JSON document with one to three places changed."""
    document = copy.deepcopy(json.loads(content))
    for _ in range(draw.choice((1, 1, 2, 3))):
        if not document:
            break
        holder, key = _place(document, draw)
        what = draw.random()
        if what < 0.7:
            holder[key] = copy.deepcopy(draw.choice(HOSTILE))
        elif what < 0.85:
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw.choice(KEYS)] = copy.deepcopy(draw.choice(HOSTILE))
    return json.dumps(document).encode()


def _place(document: Any, draw: random.Random) -> tuple[Any, Any]:
    """Return a container somewhere in a document, and one of its keys."""
    holder, key = document, _key(document, draw)
    while isinstance(holder[key], (dict, list)) and holder[key] and draw.random() < 0.7:
        holder = holder[key]
        key = _key(holder, draw)
    return holder, key


def _key(holder: Any, draw: random.Random) -> Any:
    return draw.choice(list(holder)) if isinstance(holder, dict) else draw.randrange(len(holder))


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    """Return a file with one to five places changed."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at, what = draw.randrange(len(found)), draw.randrange(5)
        if what == 0:
            found[at] = draw.randrange(256)
        elif what == 1:
            del found[at : at + draw.randint(1, 40)]
        elif what == 2:
            found[at:at] = found[at : at + draw.randint(1, 60)]
        elif what == 3:
            found[at : at + 4] = draw.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
        else:
            del found[draw.randrange(len(found)) + 1 :]
        found = found or bytearray(b"\0")
    return bytes(found)


@final
@dataclass
class Found:
    """What so many changed files of one reader led to."""

    seed: int
    examples: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: dict[str, Any] = field(default_factory=dict)
    slowest_seconds: float = 0.0
    growth_mb: float = 0.0
    peak_mb: float = 0.0

    def add(self, outcome: str, file: str, content: bytes, seconds: float) -> None:
        """Count one file."""
        self.examples += 1
        kind = outcome.partition(":")[0]
        self.outcomes[kind] += 1
        self.slowest_seconds = max(self.slowest_seconds, round(seconds, 2))
        if kind == "crash" and outcome not in self.crashes and len(self.crashes) < 20:
            self.crashes[outcome] = {"file": file, "content": content[:2_000].decode("utf-8", errors="replace")}

    def to_json(self) -> dict[str, Any]:
        """Return what the result says of a reader."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def fuzz(name: str, examples: int, until: float, found: Found) -> Iterator[None]:
    """Add changed files of one reader until there are so many, or until a time; yield now and then."""
    reader, base = READERS[name], 0
    with TemporaryDirectory() as scratch, quiet_libraries("diffusers"):
        good, folder = Path(scratch) / "good", Path(scratch) / "folder"
        reader.make(good)
        shutil.copytree(good, folder)
        contents = {file: (good / file).read_bytes() for file in (*reader.json, *reader.binary)}
        first = found.examples
        while found.examples < examples and time.monotonic() < until:
            draw = random.Random(f"{found.seed} {found.examples}")
            file = draw.choice((*reader.json, *reader.binary))
            content = _changed(reader, contents[file], file, draw)
            (folder / file).write_bytes(content)
            before = _listing(folder)
            began = time.process_time()
            outcome = _attempt(reader, folder)
            found.add(outcome, file, content, time.process_time() - began)
            if _listing(folder) == before:
                (folder / file).write_bytes(contents[file])
            else:  # this reader writes, too
                shutil.rmtree(folder)
                shutil.copytree(good, folder)
            done = found.examples - first
            if done % 100 == 0:
                base = base or _resident()
                found.growth_mb = max(found.growth_mb, round((_resident() - base) / 1e6, 1))
                found.peak_mb = max(found.peak_mb, round(_resident() / 1e6, 1))
            if done % KEPT == 0:
                yield
    yield


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """Return every file with its size and the time of its last change."""
    states = [(path, path.stat()) for path in folder.rglob("*")]
    return [(str(path), state.st_size, state.st_mtime_ns) for path, state in states]


def _changed(reader: Reader, content: bytes, file: str, draw: random.Random) -> bytes:
    both = file in reader.json and file in reader.binary
    if file in reader.json and not (both and draw.random() < 0.5):
        return changed_json(content, draw)
    return changed_bytes(content, draw)


def _attempt(reader: Reader, folder: Path) -> str:
    """Return what reading led to: read, refused, or the crash in a line."""
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    signal.alarm(10 * LIMIT)  # for what waits
    try:
        reader.read(folder)
    except ParamgenError as error:
        return "crash: the message has several lines" if "\n" in str(error) else "refused"
    except BaseException as error:  # whatever it is: that is what is looked for
        if isinstance(error, KeyboardInterrupt):
            raise
        ours = [each for each in traceback.extract_tb(error.__traceback__) if "/paramgen/" in each.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return f"crash: {type(error).__name__} at {where}: {' '.join(str(error).split())[:120]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    return "read"


def _resident() -> int:
    """Return how many bytes of this process are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def _late(number: int, frame: object) -> None:
    raise TimeoutError(f"not done after {LIMIT} s")


def _begun(kept: dict[str, Any], name: str, seed: int) -> Found:
    """Return what an earlier run with this seed counted, or nothing counted yet."""
    before = kept["readers"].get(name, {})
    if before.get("seed") != seed:
        return Found(seed)
    return Found(**{**before, "outcomes": Counter(before["outcomes"])})


def main(
    *,
    reader: Annotated[str, typer.Option(help="One reader, or all.")] = "all",
    examples: Annotated[
        int, typer.Option(help="Files of each reader, those of an earlier run with the seed included.")
    ] = 1_000,
    minutes: Annotated[float, typer.Option(help="For each reader; after which no more are tried.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the changes.")] = 0,
    out: Annotated[Path, typer.Option(help="The result, which a later run goes on from.")] = RESULT,
) -> None:
    """Change files, read them, and keep the summary beside those of other readers."""
    for late in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(late, _late)
    for name in READERS if reader == "all" else reader.split(","):
        kept = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"readers": {}}
        found = _begun(kept, name, seed)
        for _ in fuzz(name, examples, time.monotonic() + minutes * 60, found):
            kept["readers"][name] = found.to_json()
            write_text(out, json.dumps(kept | provenance(), indent=1) + "\n")
        print(name, json.dumps({key: value for key, value in found.to_json().items() if key != "crashes"}), flush=True)
        for crash in found.crashes:
            print("   ", crash, flush=True)


if __name__ == "__main__":
    typer.run(main)
