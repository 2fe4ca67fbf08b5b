"""What `import paramgen` gives, and what it and `paramgen --help` must not load."""

import ast
import doctest
import inspect
import os
import subprocess
import sys

import pytest

import paramgen

# Adding a name needs a line in CHANGELOG.md and an example in its docstring.
PUBLIC = (
    "ParamgenError card check compare convert create diagnose donors fit_field graph info initialize_ load masked plan "
    "predict prepare push recipe render_field rescale_ restorable restore shared trace train_tokenizer unmasked write"
).split()
COMMANDS = (
    "",
    "predict",
    "graph",
    "list",
    "check",
    "info",
    "compare",
    "diagnose",
    "prepare",
    "donors",
    "push",
    "restore",
    "card",
    "convert",
    "tokenizer",
    "endpoint",
    "field",
    "serve",
)
NAMED_SHELL = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
"""With it `--show-completion` takes a name; it does not look for the shell that the tests were started by."""

HEAVY = ("torch", "numpy", "timm", "torchvision", "diffusers", "transformers", "torch_geometric", "accelerate")
REPORT = f"""
import sys
sys.argv = ["paramgen", *sys.argv[1:]]
try:
    import paramgen
    if sys.argv[1:]:
        from paramgen.cli.app import main
        main()
finally:
    print("loaded:", *(name for name in {HEAVY} if name in sys.modules))
"""


def test_exports_exactly_these_names() -> None:
    assert sorted(paramgen.__all__) == PUBLIC
    assert all(getattr(paramgen, name).__doc__ for name in PUBLIC)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "ParamgenError"])
def test_every_function_shows_how_it_is_called(name: str) -> None:
    (example, *_) = doctest.DocTestParser().get_examples(getattr(paramgen, name).__doc__)
    called = [node for node in ast.walk(ast.parse(example.source)) if isinstance(node, ast.Call)]
    assert f"paramgen.{name}" in [ast.unparse(call.func) for call in called]
    (call,) = (call for call in called if ast.unparse(call.func) == f"paramgen.{name}")
    keywords = {str(keyword.arg): None for keyword in call.keywords}
    inspect.signature(getattr(paramgen, name)).bind(*call.args, **keywords)  # takes what the example gives it


@pytest.mark.parametrize(
    "arguments", [[], ["--version"], ["--show-completion", "bash"], *([*name.split(), "--help"] for name in COMMANDS)]
)
def test_stays_light_in_a_clean_interpreter(arguments: list[str]) -> None:
    command = [sys.executable, "-c", REPORT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | NAMED_SHELL)
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


@pytest.mark.parametrize("what", ["architectures", "initializers", "modifiers", "sources", "architectures timm *vit*"])
def test_a_list_is_read_off_files(what: str) -> None:
    command = [sys.executable, "-c", REPORT, "list", *what.split()]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[-1].strip() == "loaded:" and len(lines) > 3


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--arch vit_b17", "Did you mean 'vit_b16'"),
        ("--arch timm:resnet1", "Unknown timm architecture 'resnet1'. Did you mean 'resnet18'"),
        ("--arch torchvision:vit_b_17", "Did you mean 'vit_b_16'"),
        ("--arch vit_b16 --init hee", "Unknown initializer 'hee'. Did you mean 'he'"),
        ("--arch vit_b16 --init matched:hee", "Unknown initializer 'hee'"),
        ("--arch vit_b16 --init he --then scal:2", "Unknown modifier 'scal'. Did you mean 'scale'?"),
        ("--arch vit_b16 --dtype float33", "Unknown dtype 'float33'. Known: float32, bfloat16, float16."),
        ("--arch vit_b16 --sed 1", "No such option: --sed"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "predict --dry-run"])
def test_a_typo_is_refused_before_a_library_is_imported(command: str, typed: str, message: str) -> None:
    words = [sys.executable, "-c", REPORT, *command.split(), *typed.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"})
    assert done.returncode == 2 and message in done.stderr and done.stdout.strip() == "loaded:"


def test_the_package_runs_as_a_module() -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "paramgen", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run("--version") == f"paramgen {paramgen.__version__}\n"
    assert "Usage: paramgen predict" in run("predict", "--help")


def test_the_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> list[str]:
        environment = os.environ | {"_PARAMGEN_COMPLETE": "complete_bash", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split()) - 1)
        command = [sys.executable, "-m", "paramgen"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.stdout.split()

    assert completed("paramgen comp") == ["compare"]
    assert completed("paramgen predict --exa") == ["--example-input"]
    command = [sys.executable, "-m", "paramgen", "--show-completion", "bash"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | NAMED_SHELL).stdout
    assert "complete -o default -F _paramgen_completion paramgen" in shown


def test_the_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert paramgen.__version__ == version("paramgen")
