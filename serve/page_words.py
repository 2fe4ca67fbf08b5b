"""What the page calls an option: `Type: --seed 0` of the command line is `In “Seed”: 0` in a browser.

Messages are written once, in the words of the command line (`paramgen.errors.option_names` says them in Python's). What
the page has a field for gets that field's label; advice to type what it has no field for is left out.
"""

import re
from typing import Final

FIELDS: Final = {
    "arch": "Name",
    "dtype": "Precision",
    "init": "Initialization",
    "prompt": "What the network is to do with a picture",
    "seed": "Seed",
    "set": "Changes to its config",
}
"""Options that the page has a field for, and the field's label."""

ROUTES: Final = frozenset(("/v1/drawing", "/v1/statistics"))
"""What only the page asks for."""

ELSEWHERE: Final = "Where paramgen is installed, its command line has an option for this."
_VALUE: Final = r"""(?:'[^']*'|"[^"]*"|[^\s'"-][^\s'"]*)"""
_GIVEN: Final = rf"--(?:{'|'.join(FIELDS)})(?![\w-])(?:[ =]{_VALUE})?"
_CHAIN: Final = re.compile(rf"(?P<typed>[Tt]ype:? )?(?P<options>{_GIVEN}(?: {_GIVEN})*)")
_EACH: Final = re.compile(rf"--(?P<name>[a-z-]+)(?:[ =](?P<value>{_VALUE}))?")
_SENTENCE: Final = re.compile(r"(?<=[.!?]) +(?=[A-Z“'\d])")
_CLAUSE: Final = re.compile(r"(?<=;) +|, or (?=in “|type)")
_OTHER: Final = re.compile(r"(?<!\S)--[a-z]|\b[Tt]ype(?::| first| --)|\b(?:paramgen|pip|hf|python) [a-z-]")


def on_the_page(message: str) -> str:
    """Return what a message says in the words of the page.

    >>> on_the_page("The seed is -1. Type: --seed 0")
    'The seed is -1. In “Seed”: 0'
    """
    if not _OTHER.search(message):
        return message
    kept, left_out = [], False
    for sentence in _SENTENCE.split(_CHAIN.sub(_labelled, message)):
        clauses = [clause for clause in _CLAUSE.split(sentence) if not _OTHER.search(clause)]
        left_out |= len(clauses) < len(_CLAUSE.split(sentence))
        if clauses:
            kept.append("; ".join(clause.rstrip(" ;") for clause in clauses))
    said = " ".join(kept)
    if not left_out:
        return said
    return f"{said}{'' if not said or said.endswith(('.', '!', '?')) else '.'} {ELSEWHERE}".strip()


def _labelled(match: "re.Match[str]") -> str:
    """Say options in a row with the labels of their fields."""
    said = []
    for option in _EACH.finditer(match["options"]):
        label = f"“{FIELDS[option['name']]}”"
        value = option["value"]
        said.append(label if value is None else f"{label}{':' if match['typed'] else ''} {value}")
    into = {"T": "In ", "t": "in "}[match["typed"][0]] if match["typed"] else ""
    return into + " and ".join(said)
