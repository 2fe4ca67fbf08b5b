"""The recipe of the container's image, as far as it can be told without one."""

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import serve.app
from scripts.lock import IMAGE, LOCK, TORCH, wanted
from serve.settings import Settings

ROOT = Path(serve.app.__file__).parents[1]
LINES = re.sub(r"\\\n\s*", "", (ROOT / "serve" / "Dockerfile").read_text(encoding="utf-8")).splitlines()


def arguments(instruction: str) -> list[list[str]]:
    return [line.split()[1:] for line in LINES if line.startswith(f"{instruction} ")]


def installs() -> list[list[str]]:
    return [
        part.split() for line in LINES if line.startswith("RUN") for part in line.split("&&") if "pip install" in part
    ]


def locked(file: Path) -> dict[str, tuple[str, list[str]]]:
    """Return version and hashes of each line of a file."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            pin, *hashes = line.split()
            name, _, version = pin.partition("==")
            found[str(canonicalize_name(name))] = version, hashes
    return found


def test_what_is_copied_is_there_and_is_all_that_is_built() -> None:
    copied = [name for words in arguments("COPY") for name in words[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert {"pyproject.toml", "README.md", "LICENSE", "paramgen", "serve"} <= set(copied)
    kinds = [line.split()[0] for line in LINES if line and not line.startswith("#")]
    assert arguments("USER") == [["paramgen"]]
    assert kinds.index("USER") > max(place for place, kind in enumerate(kinds) if kind in ("RUN", "COPY"))


def test_nothing_is_installed_whose_sha256_is_not_known() -> None:
    *named, own = installs()
    assert all({"--require-hashes", "--no-deps"} <= set(words) for words in named)
    assert {"--no-index", "--no-deps", "--no-build-isolation", "."} <= set(own)
    files = [words[words.index("--requirement") + 1] for words in named]
    assert [ROOT / name for name in files] == [TORCH, LOCK]
    for file in (TORCH, LOCK):
        for name, (_, hashes) in locked(file).items():
            assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), name


def test_what_is_locked_are_the_versions_that_are_tested() -> None:
    """Where one of them changes, type: make lock."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    tested = {str(canonicalize_name(pin.name)): str(pin.specifier).removeprefix("==") for pin in pins}
    found = {name: version.partition("+")[0] for name, (version, _) in (locked(LOCK) | locked(TORCH)).items()}
    assert {name: version for name, version in found.items() if tested.get(name, version) != version} == {}
    for line in wanted():
        needed = Requirement(line)
        assert needed.specifier.contains(found[canonicalize_name(needed.name)]), line
    assert f"python:{IMAGE.partition(' ')[0]}-slim" in arguments("FROM")[0] and list(locked(TORCH)) == ["torch"]


def test_no_package_can_come_from_either_of_two_indexes() -> None:
    """pip takes the higher version wherever it finds it: with two indexes, whoever has one has the other's names."""
    assert not any("--extra-index-url" in words for words in installs())
    (other,) = (words for words in installs() if "--index-url" in words)
    assert other[-2:] == ["--requirement", "serve/requirements-torch.txt"]


def test_its_settings_are_settings() -> None:
    given = {name.partition("=")[0] for words in arguments("ENV") for name in words}
    named = {name.removeprefix("PARAMGEN_SERVE_").lower() for name in given if name.startswith("PARAMGEN_SERVE_")}
    assert named and named <= Settings.model_fields.keys()
