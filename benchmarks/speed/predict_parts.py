"""The parts of a prediction, each in a process of its own, for `benchmarks.speed.predict`.

`python -m benchmarks.speed.predict_parts stages ARCH INIT FOLDER` does step by step what the command does and prints
the seconds of each. `limit RECORD FILE` imports the same library and saves random tensors of the same shapes, which
nothing that writes a network can undercut by much. `imports RECORD` imports what the command had when it ended.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

Lap = Callable[[str], None]


def main(part: str, *arguments: str) -> None:
    """Run a part and print what it found as JSON."""
    parts: dict[str, Callable[..., Any]] = {"stages": stages, "limit": limit, "imports": imports}
    print(json.dumps(parts[part](*arguments)))


def stages(arch: str, init: str, folder: str) -> dict[str, Any]:
    """Return seconds by stage, what was imported, and the shapes and dtypes of what was written."""
    times: dict[str, float] = {}
    since = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal since
        now = time.perf_counter()
        times[stage], since = now - since, now

    from pathlib import Path

    from paramgen.architectures import resolve
    from paramgen.graphs.tracing.fallbacks import graph_of
    from paramgen.initializers import initializer_of
    from paramgen.output.write import write_prediction
    from paramgen.prediction import Asked, settled

    initializer = initializer_of(init)
    initializer.describe()
    lap("import")
    architecture = resolve(arch)
    lap("build")
    graph = graph_of(architecture)
    lap("trace")
    prediction = settled(architecture, graph, initializer, init=init, seed=0, dtype=None, asked=Asked(arch=arch))
    assert prediction.rules
    lap("choose")
    written = write_prediction(prediction, Path(folder), max_shard="5GB", overwrite=False, verify=True)
    assert architecture.module is not None
    return {
        "seconds": {**times, **written.seconds},
        "library": architecture.layout.source,
        "class": [type(architecture.module).__module__, type(architecture.module).__qualname__],
        "modules": list(sys.modules),
        "tensors": [
            [list(slot.shape), str(slot.dtype).removeprefix("torch.")] for slot in architecture.manifest.filled
        ],
    }


def limit(record: str, file: str) -> dict[str, float]:
    """Return the seconds that importing, drawing and saving take."""
    begun = time.perf_counter()
    found = _read(record)
    import torch
    from safetensors.torch import save_file

    import_module(found["library"])
    getattr(import_module(found["class"][0]), found["class"][1])
    imported = time.perf_counter()
    tensors = {f"tensor_{number}": _random(*tensor) for number, tensor in enumerate(found["tensors"])}
    drawn = time.perf_counter()
    save_file(tensors, file)
    assert torch.initial_seed()
    return {"import": imported - begun, "draw": drawn - imported, "save": time.perf_counter() - drawn}


def _random(shape: Sequence[int], dtype: str) -> Any:
    import torch

    kind = getattr(torch, dtype)
    return torch.randn(*shape, dtype=kind) if kind.is_floating_point else torch.zeros(*shape, dtype=kind)


def imports(record: str) -> int:
    """Import every module and return their number."""
    for name in _read(record)["modules"]:
        if name.partition(".")[0] not in ("__main__", "benchmarks"):
            with suppress(Exception):  # some are made by code, not by a file
                import_module(name)
    return len(sys.modules)


def _read(record: str) -> Any:
    with open(record, encoding="utf-8") as file:
        return json.load(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
