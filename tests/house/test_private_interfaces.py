"""What a library does not document is used in one file a library: a new version of it is then tried in one place."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
APPS: Final = ("paramgen", "training", "serve", "benchmarks", "checkpoints", "scripts")
ADAPTERS: Final = {
    "paramgen/slots/torch_internals.py": "torch",
    "paramgen/architectures/transformers_internals.py": "transformers",
    "paramgen/hub/hub_internals.py": "huggingface_hub",
    "paramgen/comparison/data/libraries.py": "datasets",  # the fingerprint of a table
    "paramgen/diffusion/pipeline.py": "diffusers",  # the device on which a pipeline runs, of its base class
    "serve/connections.py": "uvicorn",  # the protocol that connections derive from
}
"""The one file that may use the private parts of each library."""

UNDOCUMENTED: Final = ("transformers.integrations", "huggingface_hub.lfs", "uvicorn.protocols")
"""Modules that no documentation names, without an underscore."""

DOCUMENTED: Final = {"os._exit", "sys._getframe", "sys._current_frames", "_fields", "_replace", "_asdict"}
"""Names with an underscore that Python documents; the last three are of named tuples."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined_in(tree: ast.Module) -> set[str]:
    """The names that a file gives its own functions, classes, fields and attributes of `self`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.update([node.attr] if isinstance(node.value, ast.Name) and node.value.id == "self" else [])
    return found


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The private or undocumented modules and names that a statement imports from others."""
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{name}" for name in names]
    for name in names:
        private = any(is_private(part) for part in name.split("."))
        if name.partition(".")[0] not in (*APPS, "tests") and (private or f"{name}.".startswith(hidden())):
            yield name


def hidden() -> tuple[str, ...]:
    return tuple(f"{module}." for module in UNDOCUMENTED)


def spelled(call: ast.Call) -> Iterator[str]:
    """The private attributes that a call names by a text: `getattr(x, "_y")`, `x.__dict__.pop("_y")`."""
    if not any(isinstance(argument, (ast.Constant, ast.JoinedStr)) for argument in call.args):
        return
    function = ast.unparse(call.func)
    reaching = function in ("getattr", "setattr", "hasattr", "delattr") or function.endswith("patch.object")
    if not reaching and "__dict__" not in function and not function.startswith("vars("):
        return
    for argument in call.args:
        first = argument.values[0] if isinstance(argument, ast.JoinedStr) and argument.values else argument
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and is_private(first.value + "x"):
            yield first.value


def private_parts(source: str) -> list[str]:
    """What a file uses of others that they keep to themselves."""
    tree = ast.parse(source)
    own: set[str] = defined_in(tree)
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found += imported(node)
        elif isinstance(node, ast.Call):
            found += [name for name in spelled(node) if name not in own]
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            found += [] if {node.attr, ast.unparse(node)} & DOCUMENTED else [ast.unparse(node)]
    return found


def sources() -> dict[str, str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    names = [name for name in listed if name.partition("/")[0] in APPS and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_text(encoding="utf-8") for name in names}


def test_private_parts_of_libraries_stand_behind_one_file_each() -> None:
    used = {name: parts for name, source in sources().items() if (parts := private_parts(source))}
    assert {name: parts for name, parts in used.items() if name not in ADAPTERS} == {}
    assert set(ADAPTERS) <= set(used)  # who no longer needs any leaves the list
    for name, library in ADAPTERS.items():
        foreign = [part for part in used[name] if part.partition(".")[0] in set(ADAPTERS.values()) - {library}]
        assert foreign == [], name


@pytest.mark.parametrize(
    "line",
    [
        "from torch._subclasses.fake_tensor import FakeTensorMode",
        "from torch.nn.modules.conv import _ConvNd",
        "import torch.utils._device",
        "from transformers.integrations import hub_kernels",
        "from huggingface_hub.lfs import UploadInfo",
        "child._buffers.clear()",
        "child.config._chosen = 1",
        'getattr(child, "_buffers")',
        'getattr(config, f"_{kind}_implementation")',
        'part.__dict__.pop("_is_hf_initialized", None)',
        'mock.patch.object(nn.init, "_no_grad_trunc_normal_", ours)',
    ],
)
def test_the_check_sees_each_way_to_reach_a_private_part(line: str) -> None:
    assert private_parts(line)


@pytest.mark.parametrize(
    "source",
    [
        "from paramgen._optional import require",
        "from __future__ import annotations",
        "class A:\n    def _b(self): ...\n\ndef c(a): return a._b()",
        "import os\nos._exit(0)",
        'config.get("_class_name")',
    ],
)
def test_what_is_ours_or_documented_may_be_used(source: str) -> None:
    assert not private_parts(source)
