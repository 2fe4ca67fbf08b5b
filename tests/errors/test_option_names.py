"""Every message of the package in Python's words: keywords that the public functions have, values that Python reads."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import paramgen
from paramgen.errors.option_names import COMMAND_ONLY, FLAGS, KEYWORDS, in_python

PACKAGE = Path(paramgen.__file__).parent
OF_THE_COMMAND = ("cli/", "serving/endpoint_")
SAID = {
    "No dtype 'x'. Known: float32. Type: --dtype bfloat16": "No dtype 'x'. Known: float32. Pass: dtype='bfloat16'",
    "Type: --set num_labels=37": "Pass: overrides={'num_labels': 37}",
    "Type: --set a=1 --set b.c=x or more": "Pass: overrides={'a': 1, 'b.c': 'x'} or more",
    "leave out --set pretrained.": "leave out overrides['pretrained'].",
    "Check the values given by --set.": "Check the values given by overrides.",
    "--set changes a named architecture": "overrides changes a named architecture",
    "exists. Type another name, or add --overwrite.": "exists. Pass another name, or add overwrite=True.",
    "Type: --init hypernet --init library": "Pass: init=['hypernet', 'library']",
    "Type: --init 'mup?base=256'": "Pass: init='mup?base=256'",
    "Type: --init hypernet for ours, or --init library": "Pass: init='hypernet' for ours, or init library",
    "takes no prompt. Leave --prompt out, or type: --init diffusion": (
        "takes no prompt. Leave prompt out, or pass: init='diffusion'"
    ),
    "Type: --arch 'm.py:net' --set width=8 --seed 0": "Pass: arch='m.py:net', overrides={'width': 8}, seed=0",
    "--lr '1,x' is no list. Type: --lr 1e-3,1e-2": "lr='1,x' is no list. Pass: lr=(0.001, 0.01)",
    "Type: --tokenizer and a folder": "Pass: tokenizer and a folder",
    "Type: --public, if so": "Pass: public=True, if so",
    "Type: --trace-timeout 300": "Pass: trace_timeout=300",
    "There is none. Type: paramgen predict --arch NAME --init he --out a/b": (
        "There is none. Call: paramgen.write('NAME', 'a/b', init='he')"
    ),
    "Make one with: paramgen graph --arch NAME --out g.json": "Make one with: paramgen graph --arch NAME --out g.json",
    "Type: pip install --upgrade paramgen": "Run: pip install --upgrade paramgen",
    "has broken. Type the same command again.": "has broken. Try the same again.",
    "Type first: module.to_empty()": "Call first: module.to_empty()",
    "Type: paramgen list architectures": "Run: paramgen list architectures",
    "Add --resume, or --data-format x": "Add --resume, or --data-format x",
}


@pytest.mark.parametrize("message", SAID)
def test_says_it_with_keywords(message: str) -> None:
    assert in_python(message) == SAID[message]
    assert in_python(SAID[message]) == SAID[message]


def test_an_error_speaks_python_and_keeps_what_the_command_says() -> None:
    with pytest.raises(paramgen.ParamgenError) as caught:
        paramgen.predict("timm:test_vit", dtype="flaot32")
    assert "Pass: dtype='float32'" in str(caught.value) and "--dtype" not in str(caught.value)
    assert "Type: --dtype float32" in caught.value.message
    with pytest.raises(paramgen.ParamgenError, match=r"Pass: seed=0$"):
        paramgen.predict("timm:test_vit", seed=-1)


def test_an_error_within_an_error_is_kept_as_it_was_written() -> None:
    from paramgen.architectures import built
    from paramgen.errors import OptionError, one_line

    inner = OptionError("Type: --seed 0")
    assert one_line(inner) == "Type: --seed 0"
    assert "Type: --seed 0" in built("it", inner).message and "Pass: seed=0" in str(built("it", inner))


def test_a_warning_speaks_python_too() -> None:
    from torch import nn

    from paramgen.errors import TraceWarning

    with pytest.warns(TraceWarning, match="example_input=") as caught:
        prediction = paramgen.predict(nn.ParameterList([nn.Parameter()]), init="library")
    assert "--" not in str(caught[0].message)
    assert "--example-input" in prediction.graph.reason  # which is recorded


def keywords() -> set[str]:
    """Return every keyword of the public functions."""
    from paramgen.comparison import Protocol

    functions = [getattr(paramgen, name) for name in paramgen.__all__ if inspect.isfunction(getattr(paramgen, name))]
    return {name for each in functions for name in inspect.signature(each).parameters} | {
        field.name for field in fields(Protocol)
    }


def test_every_option_of_the_command_has_a_keyword() -> None:
    import click
    from typer.main import get_command

    from paramgen.cli.app import app

    def options(command: click.Command) -> Iterator[str]:
        for parameter in command.params:
            yield from (option for option in (*parameter.opts, *parameter.secondary_opts) if option.startswith("--"))

    with_functions = ("predict", "graph", "compare", "push", "check", "card", "convert", "tokenizer", "restore")
    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = {option.removeprefix("--") for name in with_functions for option in options(commands[name])}
    assert named - FLAGS.keys() - KEYWORDS.keys() - COMMAND_ONLY == set()
    assert {flag.partition("=")[0] for flag in FLAGS.values()} | set(KEYWORDS.values()) <= keywords()


def messages() -> Iterator[tuple[str, str]]:
    """Yield where a text with an option stands in the package, and the text with 3 for whatever is filled in."""
    for file in sorted(PACKAGE.rglob("*.py")):
        place = str(file.relative_to(PACKAGE))
        if place.startswith(OF_THE_COMMAND):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            if id(node) in within | prose:
                continue
            text = _text(node)
            if text is not None and re.search(r"--[a-z]", text) and " " in text:
                yield f"{place}:{node.lineno}", text  # type: ignore[attr-defined]


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "3" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def test_every_message_of_the_package_is_said_in_python() -> None:
    found, known = dict(messages()), keywords()
    assert len(found) > 60
    for place, message in found.items():
        said = re.sub(r"(?:paramgen (?!predict)|python -m )[^.]*", "", in_python(message))  # other commands
        assert not re.search(r"(?<!\S)--(?!upgrade\b)[a-z]", said), (place, said)
        assert not re.search(r"\b[Tt]ype: (?!module\.)", said), (place, said)
        for keyword in re.findall(r"(?<![\w?&'])([a-z_]+)=(?=['\d{(\[TF])", said):
            assert keyword in known, (place, said)


def test_every_value_is_one_that_python_reads() -> None:
    for place, message in messages():
        for assignment in re.findall(
            r"(?<![\w?&'])[a-z_]+=(?:'[^']*'|\{[^}]*\}|\[[^]]*\]|\([^)]*\)|[\w.]*\w)", in_python(message)
        ):
            assert ast.parse(f"f({assignment})", mode="eval"), (place, assignment)
