"""What a card says of weights that were trained a little: how, and the words of the command that does it again."""

from collections.abc import Mapping
from typing import Any, Final

from paramgen.modelcard.markdown import cell, prose, without_folders

_FIGURES: Final = {"steps": "steps", "lr": "learning rate", "batch": "batch", "first_loss": "loss from", "loss": "to"}


def preparation_in(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a record says of a preparation; empty where there was none, or it has another form."""
    found = record["initializer"].get("preparation")
    return found if isinstance(found, dict) else {}


def preparation_call(found: Mapping[str, Any], init: str) -> str:
    """Return the call that prepares a network that was there in Python."""
    how, steps = without_folders(str(found.get("how"))), found.get("steps")
    return f"paramgen.prepare(module, FOLDER, how={how!r}, steps={steps}, init={init!r})"


def preparation_cell(found: Mapping[str, Any]) -> str:
    """Return how the weights were trained, in one cell of a table; how long it took is not said."""
    figures = [f"{words} {prose(str(found.get(key)))}" for key, words in _FIGURES.items()]
    data = found.get("data")
    if isinstance(data, dict):
        figures.append(f"on {cell(without_folders(str(data.get('name'))))}, sha256 {cell(str(data.get('sha256')))}")
    if found.get("trained_model"):
        figures.append(f"model of sha256 {cell(str(found.get('sha256')))}")
    return f"{cell(without_folders(str(found.get('how'))))}: {', '.join(figures)}"


def preparation_words(found: Mapping[str, Any]) -> list[str] | None:
    """Return the options of `paramgen prepare`; None where its data were arrays, which nobody can type."""
    requested = found.get("requested")
    typed = requested if isinstance(requested, dict) else {}
    if found.get("data") is not None and "data" not in typed:
        return None
    words = ["--how", without_folders(str(found.get("how"))), "--steps", str(found.get("steps"))]
    for key, value in typed.items():
        if key != "tokenizer":  # it is one of the files that are copied
            words += [f"--{str(key).replace('_', '-')}", without_folders(str(value))]
    return words
