"""The page on the command line, made from the command itself: the words are those of `--help`."""

import re
from typing import Any

import typer.main

from paramgen.cli.app import app

_EXAMPLES = re.compile(r"\[dim\](.*?)\[/dim\]", re.DOTALL)


def command_reference(name: str) -> str:
    """Return a command's description, examples, arguments and options; of all commands without a name."""
    root: Any = typer.main.get_command(app)
    if name:
        return _command(root.commands[name])
    return "\n\n".join(f"## paramgen {each}\n\n{_command(command)}" for each, command in root.commands.items())


def _command(command: Any) -> str:
    examples = _EXAMPLES.findall(command.help)
    parts = [_EXAMPLES.sub("", command.help).strip()]
    parts += [f"```text\n{text.strip()}\n```" for text in examples]
    parts += [_parameter(parameter) for parameter in command.params]
    return "\n\n".join(parts)


def _parameter(parameter: Any) -> str:
    """Return an entry of a list of definitions."""
    if parameter.param_type_name == "argument":
        names = [parameter.name.upper()]
    else:
        names = [*parameter.opts, *parameter.secondary_opts]
    value = (
        ""
        if parameter.param_type_name == "argument" or parameter.is_flag
        else f" {parameter.metavar or _kind(parameter)}"
    )
    notes = []
    if parameter.required:
        notes.append("required")
    elif parameter.default not in (None, False, "") and not getattr(parameter, "is_flag", False):
        notes.append(f"default `{parameter.default}`")
    shown = ", ".join(f"`{each}{value}`" for each in names)
    return f"{shown}\n:   {parameter.help or ''}" + (f" *({', '.join(notes)})*" if notes else "")


def _kind(parameter: Any) -> str:
    """Return what `--help` shows where no word for the value was chosen."""
    annotation = parameter.type_descriptor.annotation
    return {int: "INTEGER", float: "FLOAT"}.get(annotation, "PATH" if "Path" in str(annotation) else "TEXT")
