"""`python -m tests.support.published.refusing FOLDER`: convert every hostile file there and print what became of it.

A process of its own: work and memory are then those a user sees, not those of a process that checks every annotation.
"""

import json
import sys
import tracemalloc
from pathlib import Path

from paramgen.errors import ParamgenError
from paramgen.published.convert import convert
from tests.support.published import hostile, published

RUNS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "subprocess.Popen", "pickle.find_class"}


def files(sentinel: Path) -> dict[str, bytes]:
    """Return every hostile file by name."""
    state = published.drawn(published.logah(language=False))
    run = {"state_dict": state, "config": published.LOGAH_CONFIG}
    forms = {"dumped": hostile.dumped(state), "saved": hostile.saved(run), "stream": hostile.saved(run, older=True)}
    cut = {
        f"{name}_cut_at_{quarter}": data[: len(data) * quarter // 4 - 1]
        for name, data in forms.items()
        for quarter in (1, 2, 3, 4)
    }
    return {**hostile.run_on_load(f"touch {sentinel}"), **hostile.malformed(), **hostile.misplaced(), **cut}


def attempt(path: Path) -> str:
    """Return the message with which a file is refused."""
    try:
        convert(path, path.parent / "out")
    except ParamgenError as error:
        return f"{type(error).__name__}: {error}"
    return "converted"


def main(folder: Path) -> None:
    """Print, for every file, the message, the functions called, the bytes of memory, and what ran or was written."""
    ran: list[str] = []
    sys.addaudithook(lambda event, _: ran.append(event) if event in RUNS else None)
    results = {}
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    path = folder / "checkpoint.pt"
    for name, data in files(folder / "sentinel").items():
        path.write_bytes(data)
        calls = 0
        sys.setprofile(count)
        message = attempt(path)
        sys.setprofile(None)
        tracemalloc.start()
        attempt(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        written = [str(other) for other in folder.rglob("*") if other != path]
        results[name] = {"message": message, "calls": calls, "bytes": peak, "ran": ran[:], "written": written}
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
