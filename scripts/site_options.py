"""Options of initializers and modifiers for the site, read off their classes: type, default, and their comments."""

import ast
import inspect
import re
import sys
import textwrap
import tokenize
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from io import StringIO
from typing import Any, Final, Literal, Union, final, get_args, get_origin, get_type_hints

from paramgen.initializers import initializers
from paramgen.modifiers import modifiers
from paramgen.registry import Registry

_REGISTRIES: Final[Mapping[str, Registry[Any]]] = {"initializers": initializers, "modifiers": modifiers}
_ARXIV: Final = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_WORDS: Final = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def plain(text: str) -> str:
    """Return text of a docstring as Markdown that shows its characters; backticks are code, papers are links."""
    parts = re.split(r"(`[^`]*`)", text)
    shown = (part if part.startswith("`") else re.sub(r"([\\\[\]*_<])", r"\\\1", part) for part in parts)
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", "".join(shown))


@final
@dataclass(frozen=True, kw_only=True)
class Option:
    """One option, as an entry of a list of definitions."""

    name: str
    allowed: str
    default: str
    said: str  # Markdown

    def __str__(self) -> str:
        notes = [self.allowed, *([f"default `{self.default}`"] if self.default else [])]
        said = f"{self.said[:1].upper()}{self.said[1:]}" if self.said else ""
        return f"`{self.name}`\n:   {said}{' ' if said else ''}*({', '.join(notes)})*"


@final
@dataclass(frozen=True, kw_only=True)
class Described:
    """What a class and its file say beyond the first sentence."""

    paragraphs: tuple[str, ...]
    options: tuple[Option, ...]
    papers: tuple[str, ...]  # numbers of arXiv


@cache
def options_of(kind: str, name: str) -> Described:
    """Read what a registered class says of itself."""
    registered = _REGISTRIES[kind].get(name)
    own = inspect.cleandoc(registered.__doc__ or "").split("\n\n")[1:]
    module = inspect.cleandoc(sys.modules[registered.__module__].__doc__ or "")
    more = [each for each in module.split("\n\n")[1:] if not re.fullmatch(r"arXiv:[\d.]+", each)]
    said, hints = comments(registered), get_type_hints(registered)
    return Described(
        paragraphs=tuple(" ".join(each.split()) for each in (*own, *more)),
        options=tuple(
            Option(
                name=field.name.rstrip("_"),
                allowed=allowed(hints[field.name]),
                default=_default(field),
                said=plain(said.get(field.name, "")),
            )
            for field in fields(registered)
            if not field.name.startswith("_")
        ),
        papers=tuple(dict.fromkeys(_ARXIV.findall(f"{module} {registered.__doc__}"))),
    )


def comments(kind: type) -> dict[str, str]:
    """Return what stands behind the fields of a class and its bases, or below them."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if "__annotations__" in vars(each) and each.__module__ != "builtins":
            found |= dict(_comments(textwrap.dedent(inspect.getsource(each))))
    return found


def _comments(source: str) -> Iterator[tuple[str, str]]:
    tokens = tokenize.generate_tokens(StringIO(source).readline)
    lines = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, below in zip(body.body, [*body.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign):
            continue
        name, beside = ast.unparse(statement.target), lines.get(statement.end_lineno or 0)
        if beside:
            yield name, beside
        elif isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield name, " ".join(str(below.value.value).split()).removesuffix(".")


def allowed(hint: Any) -> str:
    """Return what a type allows, in words.

    >>> allowed(Literal["fan_in", "fan_out"])
    '`fan_in` or `fan_out`'
    """
    if get_origin(hint) is Literal:
        *first, last = (f"`{each}`" for each in get_args(hint))
        return f"{', '.join(first)} or {last}" if first else last
    if get_origin(hint) in (Union, types.UnionType):
        parts = [each for each in get_args(hint) if not (each is int and float in get_args(hint))]
        return " or ".join(dict.fromkeys(allowed(each) for each in parts))
    return _WORDS.get(hint, "text")


def _default(field: Field[Any]) -> str:
    value = None if field.default is MISSING else field.default
    if value is None or value == "":
        return ""
    return str(value).lower() if isinstance(value, bool) else f"{value}"
