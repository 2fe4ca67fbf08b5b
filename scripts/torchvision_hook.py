"""Make torchvision importable in every process of a virtual environment whose torch cannot load its operators.

paramgen makes it importable for itself (`paramgen._optional.torchvision`). A process that never imports paramgen, such
as one that only loads a folder with transformers, needs the same where torch is the CPU build and torchvision's wheel
is not. `make setup` runs this file; if torchvision is broken, the file copies itself into site-packages, next to a
`.pth` line that imports it when Python starts. It is no part of the wheel.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

NAME = "_paramgen_torchvision_hook"
SYMPTOM = "operator torchvision::nms does not exist"


class Loader(SourceFileLoader):
    """Load torchvision after its operators have been declared."""

    def exec_module(self, module: ModuleType) -> None:
        """Declare the operators here and not in the finder: transformers looks for torchvision without importing it."""
        try:
            from paramgen._optional.torchvision import ensure_torchvision
        except ImportError:  # paramgen was uninstalled: torchvision is on its own again
            pass
        else:
            ensure_torchvision()
        super().exec_module(module)


class Finder:
    """Find torchvision where Python finds it, and nothing else."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return torchvision's own spec with our loader in it."""
        if name != "torchvision":
            return None
        found = PathFinder.find_spec(name, path, target)
        if found is not None and isinstance(found.loader, SourceFileLoader):
            found.loader = Loader(found.loader.name, found.loader.path)
        return found


def install(folder: str) -> None:
    """Place the hook into `folder` if torchvision does not import without it; otherwise remove it."""
    import shutil
    import subprocess
    from pathlib import Path

    module, line = (Path(folder) / f"{NAME}{suffix}" for suffix in (".py", ".pth"))
    line.unlink(missing_ok=True)
    module.unlink(missing_ok=True)
    trial = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True, check=False)
    if SYMPTOM in trial.stderr:
        shutil.copyfile(__file__, module)
        line.write_text(f"import {NAME}\n", encoding="utf-8")


if __name__ == "__main__":
    import sysconfig

    install(sysconfig.get_path("purelib"))
elif __name__ == NAME:
    sys.meta_path.insert(0, Finder)
