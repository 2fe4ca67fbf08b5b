"""What every initializer and modifier does to weights and signals: `python -m benchmarks.closed_forms.pictures`.

Singular values of one matrix, of the first seed, and the mean square of what comes out of each layer, on normal inputs,
over five seeds; nothing is trained. The pages of the site draw them. Names that are typed are measured again, all
others keep what stands in `cards/results/initializer_pictures.json`.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from functools import cache
from math import exp, isfinite, log
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.closed_forms.networks import SEEDS, normal
from benchmarks.closed_forms.probes import OWN, PROBES, SPECS, Probe
from benchmarks.provenance import provenance
from paramgen.architectures import Architecture
from paramgen.architectures.inputs import parse_example_input
from paramgen.errors import ParamgenError
from paramgen.graphs.schema import Graph
from paramgen.initializers import initializer_of
from paramgen.initializers.library import DEFAULTS
from paramgen.output.facts import initializer_facts, modifier_facts
from paramgen.prediction import Prediction, describe, prediction_of
from paramgen.registry.chains import join_chain
from paramgen.storage.folder import write_text

RESULT: Final = Path(__file__).parents[2] / "cards" / "results" / "initializer_pictures.json"
EXAMPLES: Final = 64
ELSEWHERE: Final = ("chosen", "from a trained model")
"""Groups whose weights are those of another initializer, or need a file."""


def main() -> None:
    """Measure the names that are typed, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*")
    chains = named_chains()
    names = parser.parse_args().names or list(chains)
    found = json.loads(RESULT.read_text(encoding="utf-8"))["pictures"] if RESULT.is_file() else {}
    with torch.no_grad():
        found |= {name: picture(name, chains[name]) for name in names}
        networks = {
            name: {"said": each.said, "shown": each.shown} | measured(name, "library") for name, each in PROBES.items()
        }
        networks["relu"]["he"] = measured("relu", "he")
    result = {"networks": networks, "pictures": {name: found[name] for name in chains if name in found}, **provenance()}
    write_text(RESULT, lines_of(result))


def named_chains() -> dict[str, str]:
    """Return what is measured for each name: an initializer, or a modifier behind He's weights."""
    alone = {name: SPECS.get(name, name) for name, facts in initializer_facts().items() if facts.group not in ELSEWHERE}
    return alone | {name: join_chain("he", (SPECS.get(name, name),)) for name in modifier_facts()}


def picture(name: str, chain: str) -> dict[str, Any]:
    """Return the figures of the first network with a matrix that is changed, or none."""
    for network in (OWN[name],) if name in OWN else PROBES:
        try:
            prediction = _prediction(network, chain, 0)
        except ParamgenError:
            continue
        rules = prediction.rules
        if name in OWN or name == "library" or any(rules[slot] not in DEFAULTS for slot in PROBES[network].slots):
            print(name, network, flush=True)
            return {"init": chain, "network": network} | measured(network, chain)
    print(name, "none", flush=True)
    return {"init": chain}


def measured(network: str, chain: str) -> dict[str, Any]:
    """Return singular values of one matrix, and the mean squares by layer: geometric means over seeds."""
    probe, logs = PROBES[network], []
    for seed in SEEDS:
        state = _prediction(network, chain, seed).state_dict()
        if seed == 0:
            values = torch.linalg.svdvals(probe.matrix(state))
        squares = _squares(probe, state, seed)
        logs.append([log(each) if each > 0 and isfinite(each) else None for each in squares])
    layers = [[each for each in layer if each is not None] for layer in zip(*logs, strict=True)]
    return {
        "singular_values": [_rounded(float(each)) for each in values],
        "mean_square": [_rounded(exp(fmean(layer))) if layer else None for layer in layers],
    }


def lines_of(result: Mapping[str, Any]) -> str:
    """Return JSON with one line for each network and name."""
    return "".join(_lines(result)) + "\n"


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    mark = "{"
    for key, value in result.items():
        inner = value
        yield f"{mark}\n {json.dumps(key)}: "
        if key in ("networks", "pictures"):
            inside = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in inner.items())
            yield f"{{\n{inside}\n }}"
        else:
            yield json.dumps(value)
        mark = ","
    yield "\n}"


def _squares(probe: Probe, state: Mapping[str, Tensor], seed: int) -> list[float]:
    module = probe.build().eval()
    module.load_state_dict(state)
    states = module.states(normal(EXAMPLES, *probe.example, seed=seed))  # type: ignore[operator]
    return [float(each.double().square().mean()) for each in states]


@cache
def _described(network: str) -> tuple[Architecture, Graph]:
    probe = PROBES[network]
    return describe(probe.spec, example_input=parse_example_input("x".join(map(str, (2, *probe.example)))))


def _prediction(network: str, chain: str, seed: int) -> Prediction:
    architecture, graph = _described(network)
    return prediction_of(architecture, graph, initializer_of(chain), init=chain, seed=seed, dtype=None)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


if __name__ == "__main__":
    main()
