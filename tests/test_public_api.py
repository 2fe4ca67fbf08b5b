"""What `import paramgen` gives, and what it and `paramgen --help` must not load."""

import subprocess
import sys

import pytest

import paramgen

# Adding a name needs a line in CHANGELOG.md and an example in README.md.
PUBLIC = ["ParamgenError", "__version__", "check", "initialize_", "load", "predict", "trace", "write"]
HEAVY = ("torch", "timm", "torchvision", "diffusers", "transformers", "torch_geometric", "accelerate", "numpy")
REPORT = f"import sys; print('loaded:', *[name for name in {HEAVY} if name in sys.modules])"


def test_exports_exactly_these_names() -> None:
    assert sorted(paramgen.__all__) == PUBLIC
    assert all(hasattr(paramgen, name) for name in PUBLIC)


@pytest.mark.parametrize(
    "program",
    [
        "import paramgen",
        "import sys; sys.argv = ['paramgen', '--help']; from paramgen.cli import main; main()",
        "import sys; sys.argv = ['paramgen', 'predict', '--help']; from paramgen.cli import main; main()",
    ],
)
def test_stays_light_in_a_clean_interpreter(program: str) -> None:
    at_exit = f"import atexit; atexit.register(exec, {REPORT!r})"
    done = subprocess.run([sys.executable, "-c", f"{at_exit}; {program}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def test_the_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert paramgen.__version__ == version("paramgen")
