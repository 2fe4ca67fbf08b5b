"""What `import paramgen` gives, and what it and `paramgen --help` must not load."""

import subprocess
import sys

import pytest

import paramgen

# Adding a name needs a line in CHANGELOG.md and an example in README.md.
PUBLIC = ["ParamgenError", "check", "compare", "graph", "initialize_", "load", "predict", "push", "trace", "write"]
HEAVY = ("torch", "numpy", "timm", "torchvision", "diffusers", "transformers", "torch_geometric", "accelerate")
REPORT = f"""
import sys
sys.argv = ["paramgen", *sys.argv[1:]]
try:
    import paramgen
    if sys.argv[1:]:
        from paramgen.cli import main
        main()
finally:
    print("loaded:", *(name for name in {HEAVY} if name in sys.modules))
"""


def test_exports_exactly_these_names() -> None:
    assert sorted(paramgen.__all__) == PUBLIC
    assert all(getattr(paramgen, name).__doc__ for name in PUBLIC)


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["predict", "--help"], ["compare", "--help"], ["push", "--help"], ["--version"]]
)
def test_stays_light_in_a_clean_interpreter(arguments: list[str]) -> None:
    command = [sys.executable, "-c", REPORT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def test_the_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert paramgen.__version__ == version("paramgen")
