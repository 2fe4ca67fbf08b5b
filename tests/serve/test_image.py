"""The recipe of the container's image, as far as it can be told without one."""

import re
from pathlib import Path

import serve.app
from serve.settings import Settings

ROOT = Path(serve.app.__file__).parents[1]
LINES = re.sub(r"\\\n\s*", "", (ROOT / "serve" / "Dockerfile").read_text(encoding="utf-8")).splitlines()


def arguments(instruction: str) -> list[list[str]]:
    return [line.split()[1:] for line in LINES if line.startswith(f"{instruction} ")]


def test_what_is_copied_is_there_and_is_all_that_is_built() -> None:
    copied = [name for words in arguments("COPY") for name in words[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "paramgen", "serve"} == set(copied)


def test_it_installs_the_versions_that_are_tested_and_runs_as_nobody_of_note() -> None:
    installs = [part for line in LINES if line.startswith("RUN") for part in line.split("&&") if "pip install" in part]
    assert all("--constraint constraints.txt" in part or "--upgrade 'pip" in part for part in installs)
    kinds = [line.split()[0] for line in LINES if line and not line.startswith("#")]
    assert arguments("USER") == [["paramgen"]]
    assert kinds.index("USER") > max(place for place, kind in enumerate(kinds) if kind in ("RUN", "COPY"))


def test_no_package_can_come_from_either_of_two_indexes() -> None:
    """pip takes the higher version wherever it finds it: with two indexes, whoever has one has the other's names."""
    installs = [part for line in LINES if line.startswith("RUN") for part in line.split("&&") if "pip install" in part]
    assert not any("--extra-index-url" in part for part in installs)
    (other,) = (part.split() for part in installs if "--index-url" in part)
    assert other[-2:] == ["torch", "torchvision"]


def test_its_settings_are_settings() -> None:
    given = {name.partition("=")[0] for words in arguments("ENV") for name in words}
    named = {name.removeprefix("PARAMGEN_SERVE_").lower() for name in given if name.startswith("PARAMGEN_SERVE_")}
    assert named and named <= Settings.model_fields.keys()
