"""Weights as what they are drawn from, against sending them: `python -m benchmarks.speed.recipes`.

For each network the folder is written, its recipe too, and the folder is made again of the recipe and compared file by
file. Making it again takes seconds of the processor; sending it takes the seconds of its bytes at `BANDWIDTH`. The
figures go to `cards/results/recipes.json`.
"""

import argparse
import json
import sys
import tempfile
import time
from filecmp import cmp
from pathlib import Path
from typing import Any, Final

import paramgen
from benchmarks.provenance import provenance

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "recipes.json"
BANDWIDTH: Final = 100_000_000  # bytes a second of the download that is compared with
CASES: Final = (
    ("gpt2-large", "library"),
    ("timm:resnet50", "he"),
    ("transformers:gpt2?vocab_size=256", "hypernet"),  # it reads bytes, so there is no tokenizer to send
)

Row = dict[str, Any]


def main() -> None:
    """Measure every network, print a line for each, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=None, help="the disk to write to")
    given = parser.parse_args()
    paramgen.predict("timm:test_vit", init="he").state_dict()  # libraries are imported at first use
    rows = []
    for arch, init in CASES:
        with tempfile.TemporaryDirectory(dir=given.folder) as place:
            rows.append(measured(arch, init, Path(place)))
        print(rows[-1], file=sys.stderr, flush=True)
    result = {**provenance(), "bandwidth": BANDWIDTH, "networks": rows}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measured(arch: str, init: str, place: Path) -> Row:
    """Return the figures of one network; both folders have the same name, which their cards quote."""
    written = paramgen.write(arch, place / "here" / "weights", init=init, verify=False)
    recipe = paramgen.recipe(arch, place / "recipe.json", init=init)
    begun, cpu = time.perf_counter(), time.process_time()
    restored = paramgen.restore(recipe.file, place / "there" / "weights", verify=False)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu
    size = sum(written.files.values())
    return {
        "arch": arch,
        "init": init,
        "parameters": written.prediction.architecture.manifest.parameters,
        "by_rule": written.prediction.by_rule,
        "recipe_bytes": recipe.nbytes,
        "folder_bytes": size,
        "times_smaller": round(size / recipe.nbytes),
        "same_bytes": same(written.folder, restored.folder),
        "cpu_seconds": round(cpu_seconds, 2),
        "seconds": round(seconds, 2),
        "download_seconds": round(size / BANDWIDTH, 2),
        "cpu_over_download": round(cpu_seconds * BANDWIDTH / size, 2),
    }


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    names = {path.name for path in one.iterdir()}
    return names == {path.name for path in other.iterdir()} and all(
        cmp(one / name, other / name, shallow=False) for name in names
    )


if __name__ == "__main__":
    main()
