"""Mutated files: `python -m benchmarks.serving.read_fuzz --reader zoo`; the result is in cards/results/read_fuzz.json.

Good files are changed at random: values of every kind anywhere in JSON, parts left out or added, bytes flipped, cut and
doubled. Each must be read, or refused with one line; what raises anything else is kept, with the change that did it.
The slowest, and how much memory the process gained from its hundredth file on, are told.
"""

import copy
import json
import random
import shutil
import signal
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import typer

from benchmarks.provenance import provenance
from benchmarks.serving.read_fuzz_readers import READERS, Reader
from paramgen.errors import ParamgenError
from paramgen.output.verify import quiet_libraries
from paramgen.storage.folder import write_text

RESULT: Final = Path(__file__).parents[2] / "cards" / "results" / "read_fuzz.json"
LIMIT: Final = 60  # seconds of one file
HOSTILE: Final[tuple[Any, ...]] = (
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


def fuzz(name: str, examples: int, seed: int) -> dict[str, Any]:
    """Return what so many changed files of one reader led to."""
    reader, draw = READERS[name], random.Random(seed)
    outcomes: Counter[str] = Counter()
    crashes: dict[str, Any] = {}
    slowest, base, peak = 0.0, 0, 0
    with TemporaryDirectory() as scratch:
        good, folder = Path(scratch) / "good", Path(scratch) / "folder"
        reader.make(good)
        shutil.copytree(good, folder)
        for number in range(examples):
            file = draw.choice((*reader.json, *reader.binary))
            content = _changed(reader, (good / file).read_bytes(), file, draw)
            (folder / file).write_bytes(content)
            began = time.perf_counter()
            outcome = _attempt(reader, folder)
            slowest = max(slowest, time.perf_counter() - began)
            kind = outcome.partition(":")[0]
            outcomes[kind] += 1
            if kind == "crash" and outcome not in crashes and len(crashes) < 20:
                crashes[outcome] = {"file": file, "content": content[:2_000].decode("utf-8", errors="replace")}
            shutil.rmtree(folder)
            shutil.copytree(good, folder)
            resident = _resident()
            base, peak = (resident if number < 100 else base), max(peak, resident)
    return {
        "examples": examples,
        "seed": seed,
        "outcomes": dict(outcomes),
        "crashes": crashes,
        "slowest_seconds": round(slowest, 2),
        "growth_mb": round((_resident() - base) / 1e6, 1) if examples > 100 else None,
        "peak_mb": round(peak / 1e6, 1),
    }


def _changed(reader: Reader, content: bytes, file: str, draw: random.Random) -> bytes:
    both = file in reader.json and file in reader.binary
    if file in reader.json and not (both and draw.random() < 0.5):
        return changed_json(content, draw)
    return changed_bytes(content, draw)


def _attempt(reader: Reader, folder: Path) -> str:
    """Return what reading led to: read, refused, or the crash in a line."""
    signal.alarm(LIMIT)
    try:
        with quiet_libraries("diffusers"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
        signal.alarm(0)
    return "read"


def _resident() -> int:
    """Return how many bytes of this process are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def _late(number: int, frame: object) -> None:
    raise TimeoutError(f"not done after {LIMIT} s")


def main(
    *,
    reader: Annotated[str, typer.Option(help="One reader, or all.")] = "all",
    examples: Annotated[int, typer.Option(help="Files of each reader.")] = 1_000,
    seed: int = 0,
) -> None:
    """Change files, read them, and keep the summary beside those of other readers."""
    signal.signal(signal.SIGALRM, _late)
    for name in READERS if reader == "all" else [reader]:
        found = fuzz(name, examples, seed)
        print(name, json.dumps({key: value for key, value in found.items() if key != "crashes"}), flush=True)
        for crash in found["crashes"]:
            print("   ", crash, flush=True)
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {"readers": {}}
        kept |= provenance()
        kept["readers"][name] = found
        write_text(RESULT, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
