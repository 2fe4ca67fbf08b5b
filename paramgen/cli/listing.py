"""What there is: the names that can be typed, and what a folder or an architecture is."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any

from paramgen.errors import ArchitectureError, OptionError, UnknownNameError

_KINDS = ("architectures", "hypernets", "initializers", "sources")


def names_of(what: str, source: str | None, pattern: str | None = None) -> dict[str, str]:
    """Return names with a line about each; of a source, those that fit a pattern."""
    if what not in _KINDS:
        raise UnknownNameError.of("list", what, _KINDS, "Type: paramgen list architectures")
    if source is not None and what != "architectures":
        raise OptionError(f"{what} have no names below them; given was {source!r}. Type: paramgen list {what}")
    if what == "hypernets":
        return {name: _line(facts) for name, facts in hypernets().items()}
    if what == "initializers":
        from paramgen.initializers import initializers

        return {name: _first_line(initializers.get(name)) for name in initializers.names()}
    from paramgen.architectures import sources

    if what == "sources":
        return {name: _first_line(sources.get(name)) for name in sources.names()}
    if source is not None:
        return {f"{source}:{name}": "" for name in _fitting(source, sources.get(source)().names(), pattern)}
    from paramgen.architectures.aliases import ALIASES

    return dict(sorted(ALIASES.items()))


def _fitting(source: str, names: Sequence[str], pattern: str | None) -> Sequence[str]:
    """Return the names that a pattern fits, where there is one: with `*` and `?`, or a part of the name."""
    if pattern is None:
        return names
    asked = pattern.removeprefix(f"{source}:").lower()
    whole = asked if set(asked) & set("*?[") else f"*{asked}*"
    found = [name for name in names if fnmatch.fnmatchcase(name.lower(), whole)]
    if not found:
        word = max(re.split(r"[*?[\]]+", asked), key=len)
        hint = f"The pattern {pattern!r} fits none of them. Type: paramgen list architectures {source}"
        raise UnknownNameError.of(f"{source} architecture", word, names, hint)
    return found


def listed(what: str, source: str | None, pattern: str | None = None, *, facts: bool) -> Mapping[str, Any]:
    """Return names with a line about each; of hypernets, if asked, with facts by name."""
    return hypernets() if facts and what == "hypernets" and source is None else names_of(what, source, pattern)


def hypernets() -> dict[str, dict[str, Any]]:
    """Return what ships by its name: what to type, what it is for, how large it is, what it was measured on."""
    found = {}
    for name, folder in _pretrained().items():
        kind = "diffusion" if (folder / "model_index.json").is_file() else "hypernet"
        found[name] = {"init": f"{kind}:{name}", **_known(folder), "parameters": _elements(folder)}
    return found


def describe_anything(what: str) -> dict[str, Any]:
    """Describe a predicted folder, a hypernet's folder or a pipeline's, what ships by its name, or an architecture."""
    from paramgen.architectures import read_config
    from paramgen.hypernets.loading import is_hypernet
    from paramgen.output.verify import read_report

    folder = Path(what) if Path(what).exists() else _pretrained().get(what, Path(what))
    if folder.is_dir() and (record := read_report(folder)):
        return {key: value for key, value in record.items() if key not in ("tensors", "tied")}
    if (folder / "model_index.json").is_file():
        return _pipeline(folder)
    if (folder / "config.json").is_file():
        config = read_config(folder)
        if is_hypernet(config) and "model_type" not in config:  # transformers has encoders and decoders, too
            return _hypernet(folder)
    elif folder.is_dir():
        raise ArchitectureError(f"{what!r} is a folder without config.json; nothing is known about it.")
    from paramgen.api import graph
    from paramgen.graphs.analysis.slot_roles import elements_by_role

    architecture, traced = graph(what)
    manifest = architecture.manifest
    return {
        "spec": architecture.spec,
        "parameters": manifest.parameters,
        "elements": manifest.elements,
        "slots": len(manifest),
        "tied": {slot.name: slot.tied_to for slot in manifest.values() if slot.tied_to is not None},
        "nodes": len(traced),
        "edges": len(traced.edges),
        "traced_by": traced.traced_by,
        "trace_failures": list(traced.failures),
        "unreachable": traced.unreachable(),
        "by_role": dict(elements_by_role(traced, manifest)),
        "weights_file": architecture.layout.weights_file,
    }


def in_words(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description with what was measured as one reads it: a row for the data, and one for each family."""
    measured = described.get("measured")
    if not measured:
        return {key: value for key, value in described.items() if key != "measured"}
    from paramgen.graphs.analysis.kinds import WORDS

    families = {str(family): words for family, words in WORDS.items()}
    rows: dict[str, Any] = {}
    for key, value in described.items():
        if key != "measured":
            rows[key] = value
            continue
        if measured.get("data"):
            rows["measured on"] = ", ".join(measured["data"])
        alone = {described["family"]: measured} if "networks" in measured and "family" in described else {}
        for family, facts in (measured.get("families") or alone).items():
            count, kind = facts["networks"], families.get(family, family)
            many = "1 network" if count == 1 else f"{count:,} networks"
            rows[f"measured: {kind}"] = f"{many} of up to {facts['largest']:,} parameters"
    return rows


def _hypernet(folder: Path) -> dict[str, Any]:
    from paramgen.hypernets.loading import load

    hypernet = load(str(folder))
    config = hypernet.config.to_json()
    if isinstance(tensors := config.get("tensors"), dict):  # hundreds: their number says more
        config["tensors"] = len(tensors)
    parameters = sum(parameter.numel() for parameter in hypernet.parameters())
    found = {"hypernet": str(folder), "parameters": parameters, "sha256": hypernet.sha256, "config": config}
    return {**found, **_known(folder)}


def _pipeline(folder: Path) -> dict[str, Any]:
    from paramgen.diffusion.loading import open_pipeline

    opened = open_pipeline(str(folder))
    architecture = opened.architecture
    return {
        "pipeline": str(folder),
        "parameters": _elements(folder),
        "sha256": opened.sha256,
        "makes": architecture.layout.config.get("_class_name", architecture.spec),
        "parameters_of_what_it_makes": architecture.manifest.parameters,
        **_known(folder),
    }


@cache
def _pretrained() -> dict[str, Path]:
    """Return the folders of what comes with paramgen, by name."""
    folder = Path(str(files("paramgen"))) / "pretrained"
    return {path.name: path for path in sorted(folder.iterdir()) if (path / "README.md").is_file()}


def _line(facts: Mapping[str, Any]) -> str:
    """Return what a hypernet is for, its size, what it was measured on, and what to type."""
    measured = facts["measured"]
    families = measured.get("families", {}).values()
    networks = sum(each["networks"] for each in families)
    largest = max((each["largest"] for each in families), default=0)
    on = f" ({networks} networks of up to {largest:,} parameters)" if families else ""
    size, data = f"{facts['parameters']:,} parameters", f"measured on {', '.join(measured['data'])}{on}"
    return f"{facts['for']}; {size}; {data}; --init {facts['init']}"


def _known(folder: Path) -> dict[str, Any]:
    """Return what is known of a folder that comes with paramgen, from its card and the table; empty for others."""
    if folder.resolve() != _pretrained().get(folder.name, Path()).resolve():
        return {}
    from huggingface_hub import ModelCard

    from paramgen.graphs.analysis.kinds import FAMILIES
    from paramgen.hypernets.storage import file_sha256
    from paramgen.initializers.auto import measured_on

    card = ModelCard.load(folder / "README.md")
    title = next(line for line in card.text.splitlines() if line.startswith("# ")).partition(": ")[2]
    data = list(dict.fromkeys(str(result.dataset_name) for result in card.data.eval_results or ()))
    weights = folder / "model.safetensors"
    digest = file_sha256(weights) if weights.is_file() else ""
    reach = {family: measured_on({"sha256": digest}, family) for family in FAMILIES}
    families = {family: measured for family, measured in reach.items() if measured.get("networks")}
    return {"for": title, "measured": {"data": data, **({"families": families} if families else {})}}


def _elements(folder: Path) -> int:
    """Count the elements of all weights of a folder by their files' heads."""
    from safetensors import safe_open

    count = 0
    for file in sorted(folder.rglob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            count += sum(prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118
    return count


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]
