"""What a folder holds, or what an architecture or a hypernet is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, final

from paramgen.architectures import read_config
from paramgen.errors import ArchitectureError, CheckError, one_line
from paramgen.graphs.analysis.model_families import FAMILY_LABELS
from paramgen.graphs.analysis.slot_roles import elements_by_role
from paramgen.hub.kinds import is_hypernet
from paramgen.hypernets.loading import load
from paramgen.output.names import elements_of, known_of_shipped, pretrained
from paramgen.output.verify import read_report
from paramgen.prediction import describe
from paramgen.prediction.summary import shown_of
from paramgen.storage.record import REPORT

Kind = Literal["prediction", "hypernet", "pipeline", "architecture"]
_NAMED: Final = {"prediction": "spec", "hypernet": "hypernet", "pipeline": "pipeline", "architecture": "spec"}


@final
@dataclass(frozen=True, kw_only=True)
class Info:
    """What was found under a name: its kind, and its facts by name, as `paramgen info` prints them.

    Args:
        kind: A folder that predict wrote, a hypernet, a diffusion pipeline, or an architecture.
        facts: What is known of it.

    """

    kind: Kind
    facts: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Info({self.kind} {one_line(repr(self.facts.get(_NAMED[self.kind])))}, {len(self.facts)} facts)"

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return dict(self.facts)

    def in_words(self) -> dict[str, Any]:
        """Return what `paramgen info` prints: what was measured as a row for the data, and one for each family."""
        return _in_words(self.facts)


def _in_words(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description with what was measured as one reads it: a row for the data, and one for each family."""
    measured = described.get("measured")
    if not measured:
        return {key: value for key, value in described.items() if key != "measured"}
    families = {str(family): words for family, words in FAMILY_LABELS.items()}
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


def info_of(what: str) -> Info:
    """Describe a predicted folder, a hypernet's folder or a pipeline's, what ships by its name, or an architecture."""
    folder = Path(what) if Path(what).exists() else pretrained().get(what, Path(what))
    if folder.is_dir() and (record := read_report(folder)):
        _refuse_measured(folder, record)
        return Info(kind="prediction", facts=shown_of(record))
    if (folder / "model_index.json").is_file():
        return Info(kind="pipeline", facts=_pipeline(folder))
    if (folder / "config.json").is_file():
        if is_hypernet(read_config(folder)):
            return Info(kind="hypernet", facts=_hypernet(folder))
    elif folder.is_dir():
        raise ArchitectureError(f"{what!r} is a folder without config.json; nothing is known about it.")
    return Info(kind="architecture", facts=_architecture(what))


def _refuse_measured(folder: Path, record: Mapping[str, Any]) -> None:
    """Refuse a record in which what was measured, or of which family, is not as paramgen writes it."""
    measured, family = record.get("measured") or {}, record.get("family", "")
    names = set(measured) if isinstance(measured, dict) else {""}
    good = not names or (names == {"networks", "largest"} and all(type(count) is int for count in measured.values()))
    if not good or not isinstance(family, str):
        raise CheckError(f"{folder / REPORT} has no 'measured' or 'family' of a prediction. Predict the folder again.")


def _architecture(spec: str) -> dict[str, Any]:
    from paramgen.graphs.tracing.fallbacks import Tracing

    architecture, graph = describe(spec, tracing=Tracing())
    manifest = architecture.manifest
    return {
        "spec": architecture.spec,
        "parameters": manifest.parameters,
        "elements": manifest.elements,
        "slots": len(manifest),
        "tied": {slot.name: slot.tied_to for slot in manifest.values() if slot.tied_to is not None},
        "nodes": len(graph),
        "edges": len(graph.edges),
        "traced_by": graph.traced_by,
        "trace_failures": list(graph.failures),
        "unreachable": graph.unreachable(),
        "by_role": dict(elements_by_role(graph, manifest)),
        "weights_file": architecture.layout.weights_file,
    }


def _hypernet(folder: Path) -> dict[str, Any]:
    hypernet = load(str(folder))
    config = hypernet.config.to_json()
    if isinstance(tensors := config.get("tensors"), dict):  # hundreds: their number says more
        config["tensors"] = len(tensors)
    parameters = sum(parameter.numel() for parameter in hypernet.parameters())
    found = {"hypernet": str(folder), "parameters": parameters, "sha256": hypernet.sha256, "config": config}
    return {**found, **known_of_shipped(folder)}


def _pipeline(folder: Path) -> dict[str, Any]:
    from paramgen.diffusion.loading import open_pipeline

    opened = open_pipeline(str(folder))
    architecture = opened.architecture
    return {
        "pipeline": str(folder),
        "parameters": elements_of(folder),
        "sha256": opened.sha256,
        "makes": architecture.layout.config.get("_class_name", architecture.spec),
        "parameters_of_what_it_makes": architecture.manifest.parameters,
        **known_of_shipped(folder),
    }
