"""Overrides of an architecture's config: `key=value` on the command line, `?key=value&key=value` in a spec."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from paramgen.errors import OptionError


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Read `key=value` words; a value is JSON where it can be read as JSON, else text.

    Raises:
        OptionError: A word is no `key=value`.
    """
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise OptionError(f"{assignment!r} is no override. Allowed: key=value, as in --set num_labels=37")
        overrides[key.strip()] = _value(value.strip())
    return overrides


def split_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split `source:name?key=value&key=value`."""
    name, _, query = spec.partition("?")
    return name, parse_overrides(query.split("&") if query else ())


def join_spec(name: str, overrides: Mapping[str, Any]) -> str:
    """Write name and overrides as one spec; the inverse of `split_spec`."""
    words = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in overrides.items()]
    return f"{name}?{'&'.join(words)}" if words else name


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
