"""A user's own files find what `python file.py` and `python -m package.module` find, and leave nothing behind."""

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

import paramgen
from paramgen.architectures import resolve
from paramgen.architectures.ownership import signed
from paramgen.errors import ArchitectureError, CheckError, OptionError, ParamgenError

if TYPE_CHECKING:
    from conftest import Command

BLOCK = "from torch import nn\nclass Block(nn.Linear):\n    pass\n"
SCRIPT = "from neighbour import Block\ndef build(width=4):\n    return Block(width, {out})\n"
PACKAGE = {
    "pkg/__init__.py": "",
    "pkg/layers.py": BLOCK,
    "pkg/sub/__init__.py": "from .net import build\n",
    "pkg/sub/sizes.py": "OUT = 5\n",
    "pkg/sub/net.py": (
        "import pkg.layers as again\nfrom . import sizes\nfrom ..layers import Block\nfrom beside import WIDTH\n"
        "def build(width=WIDTH):\n    assert again.Block is Block\n    return Block(width, sizes.OUT)\n"
    ),
    "beside.py": "WIDTH = 6\n",
}


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return folder


@pytest.mark.parametrize(
    ("files", "arch", "shape"),
    [
        ({"my_model.py": SCRIPT.format(out=3), "neighbour.py": BLOCK}, "my_model.py:build", (3, 4)),
        (PACKAGE, "pkg/sub/net.py:build", (5, 6)),
        (PACKAGE, "pkg.sub.net:build", (5, 6)),
        (PACKAGE, "pkg.sub:build", (5, 6)),
        (PACKAGE, "pkg/sub/__init__.py:build", (5, 6)),
        # Folders without an __init__.py are packages, too, for `python -m` and `package.module`.
        ({name: text for name, text in PACKAGE.items() if "__init__" not in name}, "pkg.sub.net:build", (5, 6)),
    ],
)
def test_neighbours_and_packages_are_found_now_and_later(
    here: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], arch: str, shape: tuple[int, ...]
) -> None:
    put(here, files)
    paths, before = list(sys.path), set(sys.modules)  # noqa: TID251 - it must stay as it is
    finders = len(sys.meta_path)
    paramgen.write(arch, "out", init="library")
    config = json.loads((here / "out" / "config.json").read_text())
    assert str(here) not in (here / "out" / "config.json").read_text()
    assert not any(Path(str(value)).is_absolute() for value in config.values())
    monkeypatch.chdir(here.parent)
    assert paramgen.check(here / "out").loaded_by == "module"
    assert paramgen.check(here / "out", memory="meta").loaded_by == "module"
    assert paramgen.load(here / "out").weight.shape == shape
    assert sys.path == paths and len(sys.meta_path) <= finders + 1  # noqa: TID251 - as above
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not new & {"neighbour", "my_model", "pkg", "beside"}
    assert not list(here.rglob("__pycache__"))


def test_equal_names_of_two_files_do_not_collide(here: Path) -> None:
    for name, out in (("a", 3), ("b", 7)):
        put(here / name, {"my_model.py": SCRIPT.format(out=out), "neighbour.py": f"{BLOCK}    OUT = {out}\n"})
    first: Any
    second: Any
    first, second = (resolve(f"{name}/my_model.py:build").module for name in "ab")
    assert (first.OUT, second.OUT) == (3, 7)
    assert sys.modules[type(first).__module__].Block is type(first)  # as torch.compile and pickle look it up


def test_what_a_user_calls_like_an_installed_package_is_his_alone(here: Path) -> None:
    put(
        here,
        {
            "my_model.py": "import timm, networkx\nfrom timm import Block\ndef build():\n    return Block(2, 2)\n",
            "timm.py": BLOCK,
            "networkx/notes.txt": "",  # a mere folder yields to what is installed
            "colorsys.py": "raise SystemExit",
            "safetensors.py": "def build():\n    import safetensors.torch\n    from torch import nn\n"
            "    return nn.Linear(len(safetensors.torch.__name__), 1)\n",
        },
    )
    assert isinstance(resolve("my_model.py:build").module, nn.Linear)
    assert resolve("safetensors.py:build").manifest["weight"].shape == (1, 17)  # as no file means itself
    assert resolve("timm:test_vit").layout.source == "timm"
    import timm

    assert Path(timm.__file__).parent != here


def test_imports_at_any_time_and_by_name(here: Path) -> None:
    put(
        here,
        {
            "zoo/small.py": BLOCK,
            "late.py": "def twice(states):\n    return states + states\n",
            "my_model.py": (
                "import importlib\nfrom torch import nn\n"
                "class Net(nn.Module):\n"
                "    def __init__(self, layer):\n        super().__init__()\n        self.layer = layer\n"
                "    def forward(self, states):\n"
                "        from late import twice\n        return twice(self.layer(states))\n"
                "def build():\n"
                "    layer = importlib.import_module('zoo.small').Block(2, 2)\n"
                "    import zoo.small\n"
                "    assert type(layer) is zoo.small.Block\n"
                "    return Net(layer)\n"
            ),
        },
    )
    prediction = paramgen.predict("my_model.py:build", init="library", strict=True)
    assert prediction.graph.ordered  # its forward was followed
    assert not {"zoo", "zoo.small", "late"} & set(sys.modules)
    paramgen.write("my_model.py:build", "out", init="library")
    assert paramgen.load("out")(torch.ones(1, 2)).shape == (1, 2)


def test_each_time_the_files_are_read_anew(here: Path) -> None:
    put(here, {"my_model.py": SCRIPT.format(out=3), "neighbour.py": BLOCK})
    assert resolve("my_model.py:build").manifest["weight"].shape == (3, 4)
    put(here, {"my_model.py": SCRIPT.format(out=5)})
    assert resolve("my_model.py:build").manifest["weight"].shape == (5, 4)


def test_a_file_runs_once_for_a_folder_and_its_check(here: Path) -> None:
    counted = "with open('runs', 'a') as file:\n    file.write('x')\n"
    example = "def example():\n    import torch\n    return torch.zeros(2, 4)\n"
    put(here, {"my_model.py": counted + SCRIPT.format(out=3) + example, "neighbour.py": BLOCK})
    paramgen.write("my_model.py:build", "out", init="library", example_input="my_model.py:example")
    assert (here / "runs").read_text() == "x"
    paramgen.load("out")  # the same files still
    assert (here / "runs").read_text() == "x"
    paramgen.write("my_model.py:build", "again", init="library")
    assert (here / "runs").read_text() == "xx", "each network is built of what the files say now"
    put(here, {"neighbour.py": BLOCK.replace("class", "# changed\nclass", 1)})
    paramgen.write("my_model.py:build", "changed", init="library")
    assert (here / "runs").read_text() == "xxx"


def test_a_changed_neighbour_is_not_run(here: Path) -> None:
    put(here, {"my_model.py": SCRIPT.format(out=3), "neighbour.py": BLOCK})
    paramgen.write("my_model.py:build", "out", init="library")
    put(here, {"neighbour.py": f"open('run', 'w').close()\n{BLOCK}"})
    with pytest.raises(CheckError, match=r"neighbour.py has changed since out was written"):
        paramgen.load("out")
    assert not (here / "run").exists()


def test_a_strangers_copy_runs_nothing_of_his(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is ours, signature and all; the files beside it are not."""
    put(here, {"my_model.py": SCRIPT.format(out=3), "neighbour.py": BLOCK})
    paramgen.write("my_model.py:build", "out", init="library")
    stranger = tmp_path / "stranger"
    shutil.copytree(here, stranger)
    (stranger / "neighbour.py").write_text(f"open('run', 'w').close()\n{BLOCK}")
    monkeypatch.chdir(stranger)
    assert paramgen.check("out").loaded_by == "module"  # by our files, where they were
    shutil.rmtree(here)
    with pytest.raises(CheckError, match="which is not there"):
        paramgen.load("out")
    config = json.loads(Path("out/config.json").read_text())
    for change in ({"origin": "0" * 64}, {"origin": "../key"}, {"architecture": f"{stranger}/my_model.py:build"}):
        Path("out/config.json").write_text(json.dumps(config | change))
        with pytest.raises(CheckError, match="no code is run for it"):
            paramgen.load("out")
    assert not (stranger / "run").exists()


def test_a_place_on_record_is_believed_only_with_its_hash(here: Path, tmp_path: Path) -> None:
    put(here, {"my_model.py": SCRIPT.format(out=3), "neighbour.py": BLOCK})
    paramgen.write("my_model.py:build", "out", init="library")
    (record,) = (tmp_path / "data" / "paramgen" / "code").iterdir()
    assert record.read_text() == str(here)
    assert record.stat().st_mode & 0o077 == 0
    record.write_text(str(tmp_path))
    with pytest.raises(CheckError, match="which is not there"):
        paramgen.load("out")
    paramgen.write("my_model.py:build", "again", init="library")
    assert paramgen.load("out").weight.shape == paramgen.load("again").weight.shape


def test_folders_that_name_a_path_are_loaded_as_before(here: Path) -> None:
    put(here, {"my_model.py": f"{BLOCK}def build():\n    return Block(2, 2)\n"})
    paramgen.write("my_model.py:build", "out", init="library")
    config = json.loads(Path("out/config.json").read_text())
    kept = {key: config[key] for key in ("library", "arguments", "sha256")}
    record = signed({**kept, "architecture": f"{here}/my_model.py:build"})
    Path("out/config.json").write_text(json.dumps(record))
    assert paramgen.load("out").weight.shape == (2, 2)


def test_nobody_puts_modules_beside_a_package_in_a_folder_of_everybody(here: Path) -> None:
    put(here, PACKAGE)
    here.chmod(0o777)
    with pytest.raises(ArchitectureError, match="No module named 'beside'"):
        resolve("pkg/sub/net.py:build")


def test_sources_come_before_files_in_the_current_folder(here: Path) -> None:
    put(here, {"timm.py": "open('run', 'w').close()\n", "tim.py": "open('run', 'w').close()\n"})
    assert resolve("timm:test_vit").layout.source == "timm"
    with pytest.raises(ParamgenError, match=r"Pass: arch='tim.py:resnet18'"):
        resolve("tim:resnet18")
    assert not (here / "run").exists()


def test_installed_packages_come_before_the_current_folder(here: Path) -> None:
    put(here, {"networkx/__init__.py": "raise SystemExit", "networkx/classes/__init__.py": ""})
    with pytest.raises(ArchitectureError, match="networkx.classes has no factory 'build'"):
        resolve("networkx.classes:build")


def test_installed_factories_are_loaded_again(here: Path) -> None:
    paramgen.write("torch.nn:Linear", "out", init="library", overrides={"in_features": 3, "out_features": 2})
    assert json.loads((here / "out" / "config.json").read_text())["architecture"] == "torch.nn:Linear"
    assert paramgen.load("out").weight.shape == (2, 3)
    assert paramgen.check("out").loaded_by == "module"


LINES = {
    "neighbour.py": "from torch import nn\n\ndef block():\n    raise ValueError('no')\n",
    "my_model.py": (
        "from torch import nn\nimport functools\n\ndef build():\n    raise KeyError('width')\n\n"
        "def torchs():\n    return nn.Linear(\n        'a', 2)\n\n"
        "def beside():\n    from neighbour import block\n    return block()\n\n"
        "made = nn.Linear(2, 2)\nalso = functools.partial(nn.Linear, 2, 2)\n\n"
        "class Made:\n    def __call__(self):\n        return nn.Linear(2, 2)\n\ncalled = Made()\n"
    ),
    "broken.py": "import torch\n\nx = torch.zeros(2) @ torch.zeros(3)\n",
    "lost.py": "import broken\n",
    "pkg/__init__.py": "",
    "pkg/net.py": "from .nowhere import x\n",
}


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("my_model.py:build", "KeyError: 'width' (my_model.py, line 5). See that line"),
        ("my_model.py:torchs", "(my_model.py, line 8)"),
        ("my_model.py:beside", "ValueError: no (neighbour.py, line 4)"),
        ("broken.py:build", "(broken.py, line 3). Try: python broken.py"),
        ("lost.py:build", "(broken.py, line 3). Try: python lost.py"),
        ("pkg/net.py:build", "No module named 'pkg.nowhere' (pkg/net.py, line 1). Try: python -m pkg.net in"),
        ("pkg.net:build", "No module named 'pkg.nowhere' (pkg/net.py, line 1)"),
        ("pkg.none:build", "There is no module 'pkg.none', neither installed nor in the current folder"),
        ("my_model.py:made", "my_model.py:made is a Linear that exists already. Allowed: a class, or a function"),
        ("my_model.py:Made", "it returns Made, not an nn.Module"),
    ],
)
def test_an_error_says_where_in_the_users_own_file(here: Path, arch: str, said: str) -> None:
    put(here, LINES)
    with pytest.raises(ArchitectureError) as caught:
        resolve(arch)
    assert said in str(caught.value) and "\n" not in str(caught.value) and "paramgen_own" not in str(caught.value)


@pytest.mark.parametrize("name", ["also", "called"])
def test_whatever_builds_a_module_when_called_is_a_factory(here: Path, name: str) -> None:
    put(here, LINES)
    paramgen.write(f"my_model.py:{name}", "out", init="library")
    assert paramgen.load("out").weight.shape == (2, 2)


def test_an_example_input_that_fails_is_one_line(here: Path, command: "Command") -> None:
    put(here, {"my_model.py": f"{BLOCK}def build():\n    return Block(2, 2)\ndef example_input():\n    return 1 / 0\n"})
    with pytest.raises(OptionError, match=r"cannot be made: ZeroDivisionError: .* \(my_model.py, line 7\)"):
        resolve("my_model.py:build")
    (here / "my_model.py").rename(here.parent / "my_model.py")
    words = ("--arch", "gpt2", "--example-input", "my_model.py:example_input")
    assert "(my_model.py, line 7)" in command("predict", *words).refusal


NOISY = """
import os, sys
from torch import nn
print("import"); os.system("echo child"); sys.__stdout__.write("direct\\n"); sys.__stdout__.flush()
def build():
    print("construct"); os.write(1, b"raw\\n")
    return nn.Linear(3, 3)
"""


def test_what_a_file_prints_does_not_spoil_json(tmp_path: Path, command: "Command") -> None:
    put(tmp_path, {"noisy.py": NOISY})
    done = command("predict", "--arch", "noisy.py:build", "--init", "library", "--out", "out", "--json")
    assert json.loads(done.out)["spec"] == "noisy.py:build" and done.out.count("\n") == 1
    assert {"import", "child", "direct", "construct", "raw"} <= set(done.err.splitlines())
    checked = command("check", "out", "--json")
    assert json.loads(checked.out)["ok"] and "raw" in checked.err
