"""The one summary of a prediction: `--json`, the record paramgen.json, the card and `paramgen info` are made of it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, final

from paramgen.graphs.analysis.model_family import family_of
from paramgen.graphs.graph_json import graph_hash
from paramgen.initializers.auto import measured_on
from paramgen.prediction import Prediction
from paramgen.storage.record import RECORD_VERSION


@final
@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is known of a prediction before its first tensor is computed."""

    prediction: Prediction

    def request(self) -> dict[str, Any]:
        """Return what the same bytes are made of again, as the record keeps it."""
        prediction = self.prediction
        return {
            "spec": prediction.architecture.spec,
            "init": prediction.init,
            "seed": prediction.seed,
            "dtype": None if prediction.dtype is None else str(prediction.dtype).removeprefix("torch."),
            "requested": prediction.requested.to_json(),
            "initializer": prediction.resolved.describe(),
        }

    def counts(self) -> dict[str, Any]:
        """Return how many parameters and elements there are, and how many each rule fills."""
        manifest = self.prediction.architecture.manifest
        return {
            "parameters": manifest.parameters,
            "elements": manifest.elements,
            "by_rule": self.prediction.by_rule,
            "tensors_by_rule": self.prediction.tensors_by_rule,
        }

    def graph(self) -> dict[str, Any]:
        """Return how the network was traced and which tensors no path reaches."""
        graph = self.prediction.graph
        return {
            "nodes": len(graph),
            "traced_by": graph.traced_by,
            "trace_failures": list(graph.failures),
            "unreachable": graph.unreachable(),
        }

    def remarks(self) -> dict[str, Any]:
        """Return what was decided or assumed without having been requested, if anything was."""
        remarks = list(self.prediction.remarks)
        return {"remarks": remarks} if remarks else {}

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        prediction = self.prediction
        return {
            "spec": prediction.architecture.spec,
            "init": prediction.init,
            **(prediction.choice.to_json() if prediction.choice else {}),
            **({"next_step": prediction.next_step} if prediction.next_step else {}),
            **self.remarks(),
            "seed": prediction.seed,
            **self.counts(),
            **self.graph(),
        }

    def record(self, *, max_shard: int | str, companion_files: list[list[str]]) -> dict[str, Any]:
        """Return what paramgen.json says of the prediction; files and tensors are added once they are written."""
        prediction, request = self.prediction, self.request()
        source, family = prediction.architecture.layout.source, family_of(prediction.graph)
        manifest = prediction.architecture.manifest
        request["requested"] |= {"max_shard": max_shard, "companion_files": companion_files}
        return {
            "format_version": RECORD_VERSION,
            "paramgen": version("paramgen"),
            "versions": dict(_versions("torch", source)),
            "source": source,
            **request,
            "graph": {"sha256": graph_hash(prediction.graph), **self.graph()},
            "family": family,
            "measured": measured_on(request["initializer"], family),
            "provenance": dict(prediction.initializer.provenance()),
            **self.remarks(),
            **({} if prediction.rounding is None else {"quantization": prediction.rounding.to_json()}),
            **self.counts(),
            "tied": {slot.name: slot.tied_to for slot in manifest.values() if slot.tied_to is not None},
        }


def _versions(*libraries: str) -> Iterator[tuple[str, str]]:
    for library in libraries:
        with suppress(PackageNotFoundError):  # `module`, or a source that is not called like its package
            yield library, version(library)


def shown_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a record what `paramgen info` shows: all but the entries of single tensors."""
    return {key: value for key, value in record.items() if key not in ("tensors", "tied")}
