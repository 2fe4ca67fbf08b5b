"""What a message calls an option: `--dtype bfloat16` on the command line, `dtype='bfloat16'` in Python.

Messages are written once, in the words of the command line. `in_python` says the same with the keywords of the public
functions: options with a value become assignments, options that are only spoken of become their keyword, and a whole
`paramgen predict` becomes a call of `paramgen.write`. What belongs to another program is left as it is.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

FLAGS: Final = {
    "check": "verify=True",
    "full-grid": "full_grid=True",
    "no-check": "verify=False",
    "overwrite": "overwrite=True",
    "pictures": "pictures=True",
    "pr": "pr=True",
    "public": "public=True",
    "strict": "strict=True",
}
"""Options without a value, as a call has them."""

KEYWORDS: Final = {
    "arch": "arch",
    "batch": "batch",
    "data": "data",
    "dtype": "dtype",
    "endpoint": "endpoint",
    "example-input": "example_input",
    "examples": "examples",
    "folder": "folder",
    "how": "how",
    "hypernet": "hypernet",
    "image-processor": "image_processor",
    "init": "init",
    "latent": "latent",
    "layers": "layers",
    "length": "length",
    "license-allow": "license_allow",
    "lr": "lr",
    "max-shard": "max_shard",
    "memory": "memory",
    "message": "message",
    "out": "out",
    "prompt": "prompt",
    "push": "push",
    "quantize": "quantize",
    "repo": "repo",
    "rescale-every": "rescale_every",
    "rescale-std": "rescale_std",
    "revision": "revision",
    "schedule": "schedule",
    "seed": "seed",
    "seeds": "seeds",
    "set": "overrides",
    "size": "size",
    "sparse": "sparse",
    "steps": "steps",
    "test-examples": "test_examples",
    "then": "then",
    "tokenizer": "tokenizer",
    "trace-timeout": "trace_timeout",
    "train-examples": "train_examples",
    "vocabulary": "vocabulary",
    "what": "what",
    "widen": "widen",
    "width": "width",
}
"""Options with a value, and the keyword of the public functions that takes it."""

COMMAND_ONLY: Final = frozenset("as dry-run install-completion json quiet show-completion version yes".split())
"""Options of what has no function: nothing that Python calls speaks of them."""

_VALUE: Final = r"""(?:'[^']*'|"[^"]*"|[^\s'"-][^\s'"]*)"""
_OPTION: Final = rf"--(?:{'|'.join(sorted((*FLAGS, *KEYWORDS), key=len, reverse=True))})(?![\w-])"
_GIVEN: Final = rf"{_OPTION}(?:[ =]{_VALUE})?"
_OWN: Final = re.compile(rf"paramgen (?P<command>[a-z]+)(?P<options>(?: {_GIVEN})+)")
_CHAIN: Final = re.compile(rf"(?P<typed>: )?(?P<options>{_GIVEN}(?: {_GIVEN})*)")
_EACH: Final = re.compile(rf"--(?P<name>[a-z-]+)(?:[ =](?P<value>{_VALUE}))?")
_MARKS: Final = ",.;:)"
_PROSE: Final = re.compile(r"[a-z]+")  # `--data has`: the option is spoken of
_JOINTS: Final = frozenset(("and", "if", "or", "to", "with"))  # even after a colon
_TUPLE: Final = re.compile(r"[\d.e+-]+(?:,[\d.e+-]+)+")
_TEXTS: Final = frozenset("arch data example-input init out prompt push size then tokenizer".split())


def in_python(message: str) -> str:
    """Return what a message says with the options' names in Python.

    >>> in_python("The seed is -1. Type: --seed 0")
    'The seed is -1. Pass: seed=0'
    """
    calls: list[str] = []

    def hold(match: "re.Match[str]") -> str:
        calls.append(_call(match["options"]) if match["command"] == "predict" else match[0])
        return f"\0{len(calls) - 1}\0"

    text = _CHAIN.sub(_chain, _OWN.sub(hold, message))
    text = re.sub(r"\b([Tt])ype the same(?: command)? again", lambda m: f"{'Tt'[m[1] == 't']}ry the same again", text)
    text = re.sub(r"\bType(?= first: )", "Call", text)
    text = re.sub(r"\bType(?=:? )", "Pass", text)
    text = re.sub(r"\btype(?=: | [a-z_]+=)", "pass", text)
    text = re.sub("\0(\\d+)\0", lambda match: calls[int(match[1])], text)
    text = re.sub(r"\bPass(?=: paramgen\.)", "Call", re.sub(r"\bpass(?=: paramgen\.)", "call", text))
    elsewhere = r"(?=: (?:paramgen|pip|hf|python) )"
    return re.sub(rf"\bPass{elsewhere}", "Run", re.sub(rf"\bpass{elsewhere}", "run", text))


def _chain(match: "re.Match[str]") -> str:
    """Say options that stand in a row; several with values are the arguments of one call."""
    said: list[str] = []
    given: dict[str, Any] = {}
    for option in _EACH.finditer(match["options"]):
        keyword, value, rest = _read(option["name"], option["value"], typed=match["typed"] is not None)
        if value is None:
            said += [*([_arguments(given)] if given else ()), keyword + rest]
            given = {}
            continue
        _add(given, keyword, value)
        if rest:
            said.append(_arguments(given) + rest)
            given = {}
    return (match["typed"] or "") + " ".join([*said, *([_arguments(given)] if given else ())])


def _read(name: str, given: str | None, *, typed: bool) -> tuple[str, Any, str]:
    """Return keyword, value (None where the option is only spoken of) and the rest of the text."""
    if name in FLAGS:
        keyword, _, value = FLAGS[name].partition("=")
        return keyword, value == "True", "" if given is None else f" {given}"
    keyword = KEYWORDS[name]
    if given is None:
        return keyword, None, ""
    quoted = given[0] in "'\""
    text = given[1:-1] if quoted else given.rstrip(_MARKS)
    rest = "" if quoted else given[len(text) :]
    if name == "set" and "=" not in text:  # an override's name at the end of a sentence, or prose
        return (f"{keyword}[{text!r}]", None, rest) if rest else (keyword, None, f" {given}")
    if not quoted and (text in _JOINTS or _PROSE.fullmatch(text) and not typed):
        return keyword, None, f" {given}"
    return keyword, _value(name, text), rest


def _value(name: str, text: str) -> Any:
    """Return the value as Python has it."""
    if name == "set":
        key, _, value = text.partition("=")
        return {key: _literal(value)}
    if _TUPLE.fullmatch(text):
        return tuple(float(number) for number in text.split(","))
    return text if name in _TEXTS else _literal(text)


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _add(given: dict[str, Any], keyword: str, value: Any) -> None:
    """Add a value; of an option that is there twice, both: entries of one dictionary, or a list."""
    before = given.get(keyword)
    if keyword not in given:
        given[keyword] = value
    elif isinstance(before, dict):
        given[keyword] = before | value
    else:
        given[keyword] = [*before, value] if isinstance(before, list) else [before, value]


def _arguments(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{keyword}={value!r}" for keyword, value in given.items())


def _call(options: str) -> str:
    """Return the call of `paramgen.write` that does what `paramgen predict` does."""
    given: dict[str, Any] = {}
    rest = ""
    for option in _EACH.finditer(options):
        keyword, value, rest = _read(option["name"], option["value"], typed=True)
        _add(given, keyword, value)
    arch, folder = given.pop("arch", None), given.pop("out", "FOLDER")
    more = f", {_arguments(given)}" if given else ""
    return f"paramgen.write({arch!r}, {folder!r}{more}){rest}"
