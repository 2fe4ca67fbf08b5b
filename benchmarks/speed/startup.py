"""`python -m benchmarks.speed.startup`: CPU seconds of commands until they answer, and of whole predictions.

Every command runs in a process of its own, in turn with a process that imports torch and transformers and saves random
tensors of the shapes of vit_b16: the ratio of the two says what a command costs, whatever else the machine does. CPU
seconds of user and system together count. In each round the reference runs first, between groups of commands, and last;
a ratio is taken to the mean of that round, and the median of all rounds is given. `cached` means that the network was
built and traced before. Rounds, commit, hardware and versions go to `cards/results/startup.json`.
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Final

import typer

from benchmarks.provenance import provenance
from benchmarks.speed.predict import Ran, run

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "startup.json"
ARCH: Final = "vit_b16"
REFERENCE: Final = "import torch, transformers; save"
_SAVE: Final = """
import json, struct, sys
import torch, transformers
from safetensors.torch import save_file

with open(sys.argv[1], "rb") as file:
    (length,) = struct.unpack("<Q", file.read(8))
    shapes = {name: each["shape"] for name, each in json.loads(file.read(length)).items() if name != "__metadata__"}
save_file({name: torch.randn(shape) for name, shape in shapes.items()}, sys.argv[2])
"""
AT_ONCE: Final = (
    "--help",
    "predict --help",
    "list architectures",
    "list architectures timm",
    "list architectures torchvision",
    "list architectures transformers",
    "list architectures diffusers",
    "list initializers",
    "list hypernets",
    "list modifiers",
    "list preparations",
    "list sources",
)
REFUSED: Final = (
    "predict --arch vit_b17",
    "predict --arch timm:resnet1",
    f"predict --arch {ARCH} --init hee",
    f"predict --arch {ARCH} --then scal",
    f"predict --arch {ARCH} --dtype float33",
    f"predict --arch {ARCH} --sed 1",
    "compare --arch vit_b17 --data photos",
    f"compare --arch {ARCH} --data photos --init hee",
    "diagnose --arch vit_b17",
    f"diagnose --arch {ARCH} --what signl",
    "prepare --arch gpt2 --how warmpu --out warm",
)
OWN: Final = """
from torch import nn


def build(classes=10):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 30 * 30, classes)
    )
"""
IMPORTS: Final = ("torch", "torch, transformers", "torch, timm", "torch, transformers.models.vit.modeling_vit")


def main(
    repeat: Annotated[int, typer.Option(help="Rounds, of which the median counts.")] = 3,
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = RESULTS,
) -> None:
    """Measure every command, print the table and write the figures."""
    rounds: list[dict[str, list[float]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder)
        for number in range(repeat):
            rounds.append(measured(folder / str(number), folder))
    seconds = {what: round(median(mean(each[what]) for each in rounds), 3) for what in rounds[0]}
    ratios = {what: round(median(mean(e[what]) / mean(e[REFERENCE]) for e in rounds), 3) for what in rounds[0]}
    for what in seconds:
        print(f"{seconds[what]:7.2f} s {ratios[what]:6.2f} x  {what}")
    found = {**provenance(), "rounds": repeat, "cpu_seconds": seconds, "ratios": ratios, "every_round": rounds}
    result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def prepared(folder: Path) -> None:
    """Write what the measured commands read: a prediction, whose shapes are saved, a graph, a module, and a cache."""
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    command("predict", "--arch", ARCH, "--init", "he", "--out", str(folder / "shapes"), cache=folder)
    command("graph", "--arch", ARCH, "--out", str(folder / "g.json"), cache=folder)
    for arch in ("resnet50", "gpt2"):
        command("predict", "--arch", arch, "--dry-run", cache=folder)


def measured(out: Path, folder: Path) -> dict[str, list[float]]:
    """Run everything once, the reference before, between and after; return the CPU seconds of each run."""
    out.mkdir()
    found: dict[str, list[float]] = {REFERENCE: []}

    def refer() -> None:
        saved = [sys.executable, "-c", _SAVE, str(folder / "shapes" / "model.safetensors"), str(out / "saved")]
        found[REFERENCE].append(round(run(saved).cpu, 3))

    def note(what: str, ran: Ran) -> None:
        found[what] = [round(ran.cpu, 3)]

    refer()
    for modules in IMPORTS:
        note(f"import {modules}", run([sys.executable, "-c", f"import {modules}"]))
    for words in AT_ONCE:
        note(f"paramgen {words}", command(*words.split()))
    for words in REFUSED:
        note(f"paramgen {words}", command(*words.split(), status=2))
    for number, (what, given, cached) in enumerate(_predictions(folder)):
        if number % 4 == 0:
            refer()
        ran = command("predict", *given, "--out", str(out / str(number)), "--quiet", cache=folder if cached else None)
        note(f"paramgen predict --arch {what}", ran)
    refer()
    return found


def _predictions(folder: Path) -> list[tuple[str, tuple[str, ...], bool]]:
    """Return what is predicted: its name in the table, what is typed, and whether there is a cache."""
    graph, own = str(folder / "g.json"), f"{folder / 'own.py'}:build"
    fast = ("--init", "he", "--no-check")
    each: list[tuple[str, tuple[str, ...], bool]] = []
    for arch in (ARCH, "resnet50", "gpt2"):
        each += [(arch, ("--arch", arch), False), (f"{arch}, cached", ("--arch", arch), True)]
    return [
        *each,
        (f"{ARCH} --init he --no-check, cached", ("--arch", ARCH, *fast), True),
        (f"{ARCH} --dry-run, cached", ("--arch", ARCH, "--dry-run"), True),
        ("own.py:build", ("--arch", own, "--example-input", "2x3x32x32"), False),
        ("g.json", ("--arch", graph), False),
        ("g.json --init he --no-check", ("--arch", graph, *fast), False),
    ]


def command(*words: str, status: int = 0, cache: Path | None = None) -> Ran:
    """Run paramgen, with a cache of graphs in a folder or with none."""
    environment = {} if cache is None else {"PARAMGEN_GRAPH_CACHE": str(cache / "graphs")}
    return run([sys.executable, "-m", "paramgen", *words], status=status, environment=environment)


if __name__ == "__main__":
    typer.run(main)
