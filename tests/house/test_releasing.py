"""What a release is made of agrees with itself: versions, bounds, extras, changelog, workflows, hooks, `make`."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import paramgen
from scripts.release import CATEGORIES, faults, sections

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
HOME = PROJECT["urls"]["Repository"]


def workflow(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    return loaded


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in found}


def make(*words: str, cwd: Path) -> str:
    """Return what make prints as from a shell, though the tests themselves may be run by make."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *words], cwd=cwd, env=outside, capture_output=True, text=True, check=True).stdout


def recipe(target: str, folder: Path) -> str:
    """Return what `make TARGET` would run in a clone in which nothing was made yet."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    return make("-n", target, cwd=folder)


def test_the_version_is_the_same_everywhere_and_written_once() -> None:
    assert paramgen.__version__ == PROJECT["version"] == next(iter(sections(CHANGELOG)))
    for folder in ("paramgen", "serve", "training", "checkpoints", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            assert f'"{PROJECT["version"]}"' not in path.read_text(encoding="utf-8"), path


def test_the_oldest_python_and_the_tested_ones_are_the_same_everywhere() -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert PROJECT["requires-python"] == f">={named[0]}" and PYPROJECT["tool"]["mypy"]["python_version"] == named[0]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{named[0].replace('.', '')}"
    jobs = workflow("tests.yml")["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == jobs["wheel"]["strategy"]["matrix"]["python"] == named
    systems = {name.partition("-")[0] for name in jobs["test"]["strategy"]["matrix"]["os"]}
    assert systems == {"ubuntu", "macos"}
    assert "python_version" not in "".join(PROJECT["dependencies"]) + (ROOT / "constraints.txt").read_text()


def test_the_extra_all_holds_every_other() -> None:
    (line,) = EXTRAS["all"]
    assert Requirement(line).name == PROJECT["name"]
    assert Requirement(line).extras == EXTRAS.keys() - {"all"}


def test_every_lower_bound_is_the_version_that_was_tried() -> None:
    lines = [*PROJECT["dependencies"], *(line for name, extra in EXTRAS.items() if name != "all" for line in extra)]
    asked = {canonicalize_name(wanted.name): wanted.specifier for wanted in map(Requirement, lines)}
    tried = pins("constraints-oldest.txt")
    assert tried.keys() == asked.keys()
    for name, specifier in asked.items():
        (bound,) = specifier
        assert bound.operator == ">=", f"{name}{specifier}: one lower bound, and no other"
        padded = bound.version + ".0" * (tried[name].count(".") - bound.version.count("."))
        assert tried[name] == padded, f"{name}: pyproject.toml says {bound}, constraints-oldest.txt {tried[name]}"


def test_the_changelog_has_each_category_once_and_in_order() -> None:
    for version, (date, text) in sections(CHANGELOG).items():
        found = re.findall(r"^### (.*)$", text, re.MULTILINE)
        assert found == [name for name in CATEGORIES if name in found], version
        assert re.fullmatch(r"Unreleased|\d{4}-\d{2}-\d{2}", date), version
    assert len(sections(CHANGELOG)) == len(re.findall(r"^## ", CHANGELOG, re.MULTILINE))


RELEASED = "# Changelog\n\n## [1.2.0] - 2030-01-31\n\n### Added\n\n- A thing.\n\n## [1.1.0] - 2029-01-31\n\n- Old.\n"
READY = {"version": "1.2.0", "urls": {"Repository": "https://host/us/it", "Issues": "https://host/us/it/issues"}}


def test_a_release_whose_places_agree_is_let_through() -> None:
    assert faults("v1.2.0", "https://host/us/it", READY, RELEASED) == []
    assert sections(RELEASED)["1.2.0"] == ("2030-01-31", "### Added\n\n- A thing.")


@pytest.mark.parametrize(
    ("tag", "repository", "changelog", "said"),
    [
        ("v1.2.1", "https://host/us/it", RELEASED, "tag v1.2.0"),
        ("1.2.0", "https://host/us/it", RELEASED, "tag v1.2.0"),
        ("v1.2.0", "https://host/them/it", RELEASED, "Issues is https://host/us/it/issues"),
        ("v1.2.0", "https://host/us/i", RELEASED, "Repository is https://host/us/it"),
        ("v1.2.0", "https://host/us/it", RELEASED.replace("2030-01-31", "Unreleased"), "YYYY-MM-DD"),
        ("v1.2.0", "https://host/us/it", RELEASED.replace("1.2.0", "1.3.0"), "newest version"),
        ("v1.2.0", "https://host/us/it", RELEASED.replace("### Added\n\n- A thing.\n", ""), "says nothing"),
    ],
)
def test_a_release_whose_places_disagree_is_refused(tag: str, repository: str, changelog: str, said: str) -> None:
    found = faults(tag, repository, READY, changelog)
    assert any(said in fault for fault in found), found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_pin_what_they_use_and_may_do_little(path: Path) -> None:
    """A tag can be moved to other code; a commit cannot."""
    loaded = workflow(path.name)
    assert loaded["permissions"] == {"contents": "read"}
    for line in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"\./\.github/workflows/\w+\.yml|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    for name, job in loaded["jobs"].items():
        assert "timeout-minutes" in job or "uses" in job, name


def test_one_version_of_each_action_is_used() -> None:
    used: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for action, version in re.findall(r"uses: ([\w./-]+)@(.*)", path.read_text(encoding="utf-8")):
            used.setdefault(action, set()).add(version)
    assert used and all(len(versions) == 1 for versions in used.values()), used


def test_only_the_publishing_job_can_prove_who_we_are_and_no_secret_is_kept() -> None:
    jobs = workflow("release.yml")["jobs"]
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    assert jobs["publish"]["needs"] == "tests" and jobs["tests"]["needs"] == "ready"
    assert not any("secrets." in path.read_text(encoding="utf-8") for path in WORKFLOWS)


def test_what_workflows_and_hooks_call_is_there() -> None:
    texts = [path.read_text(encoding="utf-8") for path in WORKFLOWS]
    targets = set(re.findall(r"run: make ([\w-]+)", "\n".join(texts)))
    assert {"test", "build", "docs"} <= targets <= set(re.findall(r"^([\w-]+):.*##", MAKEFILE, re.MULTILINE))
    for called in re.findall(r"(?:scripts|tests)/[\w./-]+", "\n".join(texts)):
        assert (ROOT / called).exists(), called
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert tools == {"ruff", "mypy", "lint-imports"}


def test_make_alone_lists_every_target() -> None:
    said = make(cwd=ROOT)
    (declared,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert [line.split()[1] for line in said.splitlines()] == re.findall(r"^([\w-]+):.*##", MAKEFILE, re.MULTILINE)
    assert {line.split()[1] for line in said.splitlines()} == set(declared.split())


def test_make_predict_installs_the_library_alone(tmp_path: Path) -> None:
    ran = recipe("predict", tmp_path)
    assert "--editable ." in ran and "--constraint constraints.txt" in ran
    assert "--group" not in ran and "[" not in ran


def test_make_setup_installs_what_the_tests_need(tmp_path: Path) -> None:
    ran = recipe("setup", tmp_path)
    assert all(f"--group {name}" in ran for name in ("dev", "docs", "serve", "train"))


def test_make_clean_leaves_what_cannot_be_made_again(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    kept = [
        tmp_path / name for name in ("runs/weights.safetensors", ".venv/bin/python", ".venv/__pycache__/x.pyc", "x.py")
    ]
    gone = [tmp_path / name for name in ("build/lib/x.py", "dist/x.whl", "x.egg-info/PKG-INFO", "a/__pycache__/x.pyc")]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    make("clean", cwd=tmp_path)
    assert all(path.exists() for path in kept) and not any(path.exists() for path in gone)
