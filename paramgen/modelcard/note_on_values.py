"""What a card says of values that are rounded, or bound in training: how many, and what to type."""

from collections.abc import Mapping
from typing import Any

from paramgen.modelcard.markdown import cell, number


def note_on_values(record: Mapping[str, Any]) -> str:
    """Return sentences, each after a space; nothing where values are free and as they were predicted."""
    return f"{_on_constraint(record)}{_on_rounding(record)}"


def _on_rounding(record: Mapping[str, Any]) -> str:
    said = record.get("quantization")
    if not isinstance(said, dict):
        return ""
    kind, block, error = cell(str(said.get("kind"))), said.get("block"), said.get("relative_error")
    lost = f"{error:.1%} of their size" if isinstance(error, (int, float)) else "not known"
    return (
        f" Matrices, kernels and tables are rounded to {kind} with a scale for each "
        f"{'tensor' if block == 'tensor' else f'{number(block)} weights'}; the root mean square error is {lost}. Where "
        "quantized.safetensors holds them, `paramgen restore FOLDER --out NEW` makes the folder that libraries load."
    )


def _on_constraint(record: Mapping[str, Any]) -> str:
    """Say how many weights are kept or trained, or how many numbers they share, and what keeps it so in training."""
    holds, said = "constrains the training to that.", record.get("shared")
    if isinstance(said, dict):
        how = f"{number(said.get('of'))} weights share {number(said.get('numbers'))} numbers, those of"
        return f" {how} shared.safetensors: `paramgen.shared(model, FOLDER)` {holds}"
    if not isinstance(said := record.get("masks"), dict):
        return ""
    what, rest = ("kept", "are zero") if said.get("kind") == "pruned" else ("to be trained", "keep their values")
    kept = f"{number(said.get('kept'))} of {number(said.get('of'))} weights are {what}"
    return f" {kept}, by masks.safetensors; the others {rest}: `paramgen.masked(model, FOLDER)` {holds}"
