"""paramgen-serve: the service for who has installed the wheels, made of `serve/`, under a name of its own."""

import ast
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from safetensors.torch import load

from scripts.serve_source import LEFT_OUT, PACKAGE, write

if TYPE_CHECKING:
    from conftest import Command

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "it"
    write(folder)
    return folder


def test_the_copy_imports_itself_and_never_the_folder_of_the_repository(source: Path) -> None:
    files = sorted((source / PACKAGE).glob("*.py"))
    assert {file.name for file in files} == {file.name for file in (ROOT / "serve").glob("*.py")} - set(LEFT_OUT)
    within = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "serve"], file
            within |= {name for name in names if name.partition(".")[0] == PACKAGE}
    assert within and all((source / PACKAGE / f"{name.rpartition('.')[2]}.py").is_file() for name in within)
    assert {file.name for file in (source / PACKAGE / "static").iterdir()} >= {"index.html", "app.js"}


def test_it_needs_paramgen_of_the_same_version_and_what_the_repository_installs_for_it(source: Path) -> None:
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = PROJECT["project"]["version"]
    assert project["version"] == version and project["requires-python"] == PROJECT["project"]["requires-python"]
    assert project["dependencies"] == [f"paramgen=={version}", *PROJECT["dependency-groups"]["serve"]]


def test_without_it_the_command_says_what_to_type(command: "Command") -> None:
    assert "make build && pip install dist/*.whl" in command("serve", "--port", 8000).refusal


def built(source: Path, out: Path) -> Path:
    program = "import sys, setuptools.build_meta; setuptools.build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(out)], cwd=source, capture_output=True, check=True)
    return max(out.glob("*.whl"), key=lambda file: file.stat().st_mtime_ns)


@pytest.fixture(scope="module")
def environment(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with both wheels, which finds their libraries where this one has them."""
    root = tmp_path_factory.mktemp("environment")
    copy = root / "copy"
    listed = subprocess.run(
        [
            "git",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "paramgen",
            "*.toml",
            "README.md",
            "LICENSE",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    wheels = [built(copy, root), built(source, root)]
    venv.create(root / "it", with_pip=False)
    binaries = root / "it" / "bin"
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install", *options]
    subprocess.run([*pip, *map(str, wheels)], check=True)
    (packages,) = (root / "it" / "lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return binaries


def answers(client: httpx2.Client, started: "subprocess.Popen[str]") -> None:
    while started.poll() is None:
        try:
            assert client.get("/health").status_code == 200
        except httpx2.TransportError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(started.stderr and started.stderr.read())


@pytest.mark.slow
def test_both_wheels_serve_from_any_folder(environment: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "serve.py").write_text("raise SystemExit('the file of somebody else')")
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with subprocess.Popen(
        [environment / "paramgen", "serve", "--port", str(port)],
        cwd=tmp_path,
        env=own,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
                answers(client, started)
                answer = client.get("/v1/weights", params={"arch": "timm:test_vit", "init": "he"})
                page = client.get("/").text
            assert answer.status_code == 200, answer.text
            assert all(tensor.isfinite().all() for tensor in load(answer.content).values())
            assert "<title>" in page
            started.send_signal(signal.SIGTERM)
            assert started.wait(60) in (0, -signal.SIGTERM)
        finally:
            started.kill()


@pytest.mark.slow
def test_a_wrong_setting_is_one_line(environment: Path, tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    given = own | {"PARAMGEN_SERVE_PREDICTIONS": "0"}
    done = subprocess.run(
        [environment / "paramgen", "serve"], cwd=tmp_path, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("error: PARAMGEN_SERVE_PREDICTIONS") and not done.stdout
