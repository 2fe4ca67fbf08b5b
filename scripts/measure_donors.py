"""Measure the published models that the catalog names: family, parameters, widths, depth, patch, input, operations.

A new row needs `repo`, `spec`, `license`, `data` and `dtype`, as far as they are known; then type

    python -m scripts.measure_donors

which builds every network without its weights and writes the rest.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, Final

from paramgen.initializers.inheritance.network import Network
from paramgen.initializers.inheritance.profile import NetworkProfile, profile_of
from paramgen.prediction import describe

CATALOG: Final = Path(__file__).parents[1] / "paramgen" / "initializers" / "inheritance" / "catalog.toml"
_ROW: Final = "[[donors]]"
_KNOWN: Final = ("repo", "revision", "spec", "license", "data", "dtype")


def measured(spec: str) -> NetworkProfile:
    """Return the profile of the network that a spec names."""
    architecture, graph = describe(spec)
    return profile_of(Network(architecture=architecture, graph=graph))


def row(known: dict[str, Any], profile: NetworkProfile) -> str:
    """Return a row of the catalog."""
    values = {key: known[key] for key in _KNOWN if key in known} | profile.to_json()
    return "\n".join([_ROW, *(f"{key} = {_written(value)}" for key, value in values.items())])


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {each}" for key, each in value.items()) + " }"
    return f"{value:_}" if isinstance(value, int) else json.dumps(value)


def main() -> None:
    """Write the catalog again."""
    text = CATALOG.read_text(encoding="utf-8")
    rows = [row(known, measured(known["spec"])) for known in tomllib.loads(text)["donors"]]
    CATALOG.write_text("\n\n".join([text.partition(_ROW)[0].rstrip(), *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
