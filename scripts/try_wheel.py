"""Install a wheel into an empty environment, without extras and without the source, and do with it what a user does.

python scripts/try_wheel.py dist/paramgen-*.whl [--constraint FILE] [--torch-index URL] [--keep FOLDER]

Everything runs in an empty folder, in Python's isolated mode, without the network. The Python that runs this file is
the one that is tried. Nothing needs to be installed for it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

LOADER = Path(__file__).with_name("load_with_transformers.py").resolve()
EXTRAS = ("timm", "torchvision", "matplotlib", "scipy", "datasets", "torch_geometric")
OWN = """
from torch import nn

def build(width=8):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
"""
IMPORTED = f"""
import importlib.util, sys, paramgen
assert paramgen.__file__.startswith(sys.prefix), paramgen.__file__
found = [name for name in {EXTRAS!r} if importlib.util.find_spec(name)]
assert not found, f"These libraries belong to extras and are installed: {{found}}"
state = paramgen.predict("vit_b16", init="auto").state_dict()
assert all(tensor.isfinite().all() for tensor in state.values())
print(f"{{paramgen.__version__}}: {{len(state)}} tensors from Python")
"""


class Trial:
    """An environment with the wheel in it, and an empty folder to work in."""

    def __init__(self, root: Path) -> None:
        self.binaries, self.folder = root / "environment" / "bin", root / "folder"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def pip(self, *arguments: str) -> None:
        """Run the environment's pip."""
        line = [str(self.binaries / "python"), "-I", "-m", "pip", *arguments]
        subprocess.run(line, check=True, env=self.environment)

    def run(self, program: str, *arguments: str, status: int = 0) -> str:
        """Run a program of the environment without the network, and return what it said; fail on another status."""
        done = subprocess.run(
            [str(self.binaries / program), *arguments],
            cwd=self.folder,
            env=self.environment | {"HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        print(f"$ {program} {' '.join(arguments)[:100]}\n{done.stdout}{done.stderr}", flush=True)
        if done.returncode != status:
            sys.exit(f"error: {program} ended with {done.returncode} instead of {status}.")
        return done.stdout + done.stderr


def install(trial: Trial, wheel: Path, constraint: Path | None, torch_index: str) -> None:
    """Install the wheel as a stranger would, but for the versions of its libraries where they are given."""
    limits = ["--constraint", str(constraint.resolve())] if constraint else []
    venv.create(trial.binaries.parent, with_pip=True, clear=True)
    trial.pip("install", "--quiet", "--upgrade", "pip")
    if torch_index:
        trial.pip("install", "--quiet", *limits, "--index-url", torch_index, "torch")
    trial.pip("install", "--quiet", *limits, str(wheel.resolve()))
    trial.pip("check")


def use(trial: Trial, version: str) -> None:
    """Predict, prove and load weights; ask for what only extras bring."""
    assert trial.run("paramgen", "--version").split() == ["paramgen", version]
    trial.run("python", "-I", "-c", IMPORTED)
    trial.run("paramgen", "predict", "--arch", "vit_b16", "--out", "vit")
    trial.run("paramgen", "check", "vit")
    trial.run("python", "-I", str(LOADER), "vit")
    (trial.folder / "own.py").write_text(OWN, encoding="utf-8")
    trial.run("paramgen", "predict", "--arch", "own.py:build", "--example-input", "1x3x16x16", "--out", "own")
    trial.run("paramgen", "graph", "--arch", "own.py:build", "--example-input", "1x3x16x16", "--out", "graph.svg")
    refusal = trial.run("paramgen", "predict", "--arch", "timm:resnet18", "--out", "none", status=2)
    assert "[timm]" in refusal and len(refusal.splitlines()) == 1, refusal
    assert not (trial.folder / "none").exists()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, install and use the wheel, and say which libraries it ran with."""
    parser = argparse.ArgumentParser(description="Use a wheel in an empty environment, without extras.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--constraint", type=Path, help="versions of the libraries, as pip reads them")
    parser.add_argument("--torch-index", default="", help="where torch comes from, if not from the usual index")
    parser.add_argument("--keep", type=Path, help="where the environment is left; without it, it is removed")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        trial = Trial((given.keep or Path(temporary)).resolve())
        install(trial, given.wheel, given.constraint, given.torch_index)
        use(trial, given.wheel.name.split("-")[1])
        trial.pip("list", "--format=freeze")
    print(f"{given.wheel.name} works on Python {sys.version.split()[0]}, {sys.platform}.")


if __name__ == "__main__":
    main()
