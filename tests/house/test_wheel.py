"""The wheel holds paramgen, all of paramgen, and nothing but paramgen."""

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MAX_WHEEL = 25_000_000


def repository_files() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, built from a copy of the repository's files: leftovers would get into it."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("source")
    for name in repository_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    program = "import sys, setuptools.build_meta; setuptools.build_meta.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(out)], cwd=copy, capture_output=True, check=True)
    (built,) = out.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from the source archive, as whoever packages it does."""
    out = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", str(out)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (built,) = out.glob("*.whl")
    return built


def test_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for name in repository_files() if name.startswith("paramgen/")}
    assert "paramgen/py.typed" in names
    assert wheel.stat().st_size <= MAX_WHEEL


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_the_source_archive_holds_the_library_alone(source: Path) -> None:
    with tarfile.open(source) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {name.partition("/")[0] for name in names if "/" in name} == {"paramgen", "paramgen.egg-info"}
    assert {"LICENSE", "README.md", "CHANGELOG.md"} <= names


def test_brings_no_library_that_only_an_extra_needs(wheel: Path) -> None:
    lines = metadata(wheel).get_all("Requires-Dist") or []
    required = {canonicalize_name(Requirement(line).name) for line in lines if "extra ==" not in line}
    assert {"torch", "diffusers", "safetensors", "huggingface-hub", "accelerate"} <= required
    assert not required & {"torch-geometric", "networkx", "timm", "torchvision", "scipy", "matplotlib", "datasets"}


def test_the_index_page_says_where_it_comes_from(wheel: Path) -> None:
    found = metadata(wheel)
    assert {line.partition(",")[0] for line in found.get_all("Project-URL") or []} >= {
        "Repository",
        "Changelog",
        "Issues",
    }
    assert found["License-Expression"] == "Apache-2.0" and found["Author"] and found["Requires-Python"] == ">=3.11"


def test_runs_without_the_source(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    # A program given by -c finds packages in the current folder first, before the editable installation.
    program = "import paramgen; print(paramgen.__file__); from paramgen.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(tmp_path))
    assert "predict" in done.stdout
