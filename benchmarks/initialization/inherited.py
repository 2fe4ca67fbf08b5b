"""Whether inherited weights train better: from a donor of another size, on data that the donor has not seen.

    python -m benchmarks.initialization.inherited --donor FILE --data NAME=PATH --networks timm-resnet-16 resnet18

Every network is trained from its library's initialization, from orthogonal weights, from what `auto` takes for it, and
from the donor's weights by `inherit` and by `weight_selection`, where that one can be used: each at its own best
learning rate of one grid, chosen on validation data. Runs lie under `--out`, and another call goes on where the last
one ended. What the donor cost is not counted: it is a model that somebody has published.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.initialization.real_networks import real_networks
from benchmarks.initialization.rows import Entry
from benchmarks.initialization.vision import (
    BATCH,
    LEARNING_RATES,
    DataSet,
    add_data_options,
    data_sets,
    example_of,
    named,
)
from benchmarks.initialization.vision_networks import Network, networks
from benchmarks.provenance import provenance
from paramgen.comparison import Protocol, compare
from paramgen.comparison.models import model_under_test
from paramgen.comparison.statistics import reached
from paramgen.errors import ParamgenError
from paramgen.initializers import initializer_of
from paramgen.initializers.auto import AUTO, LIBRARY
from paramgen.initializers.inherit import Inherit
from paramgen.prediction import Prediction, prepare
from paramgen.storage.folder import write_text

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "vision_inherited.json"
DONOR_ARCH: Final = "benchmarks/initialization/cifar_resnet.py:resnet56"
INHERIT, SELECTION = "inherit", "weight_selection"
INITS: Final = (LIBRARY, "orthogonal", AUTO, SELECTION, INHERIT)


def main() -> None:
    """Run what is missing and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--donor", type=Path, required=True, help="a safetensors file")
    parser.add_argument("--donor-arch", default=DONOR_ARCH, metavar="SPEC", help="the network of the file")
    add_data_options(parser)
    parser.add_argument("--networks", nargs="+", required=True, help="names of the tables of image classifiers")
    parser.add_argument("--out", type=Path, default=Path("runs/inherited"), help="where runs are kept")
    parser.add_argument("--result", type=Path, default=RESULTS, help="the result file")
    parser.add_argument("--lr", type=float, nargs="+", default=LEARNING_RATES, help="learning rates, alike for all")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    try:
        protocol = Protocol(
            steps=given.steps, batch=BATCH, seeds=given.seeds, lr=tuple(given.lr), evaluations=5, test_examples=1000
        )
        known = {each.name: each for each in (*networks(), *real_networks())}
        chosen = named("network", given.networks, known)
        rows: list[Mapping[str, Any]] = []
        for data in data_sets(given):
            for network in chosen:
                rows.append(row_of(data, network, protocol, donor=given.donor, arch=given.donor_arch, out=given.out))
                result = {"donor": about(given.donor, given.donor_arch), "protocol": protocol.to_json(), "rows": rows}
                write_text(given.result, json.dumps({**result, **provenance()}, indent=1) + "\n")
    except ParamgenError as error:
        sys.stderr.write(f"{error.message}\n")
        raise SystemExit(2) from error


def about(donor: Path, arch: str) -> dict[str, str]:
    """Return what identifies a donor, without the folder that it lies in here."""
    return {"file": donor.name, "arch": arch, "sha256": Inherit(path=str(donor), arch=arch).describe()["sha256"]}


def row_of(data: DataSet, network: Network, protocol: Protocol, *, donor: Path, arch: str, out: Path) -> dict[str, Any]:
    """Return a network's figures from every initialization, and what the donor gives it; trained now or before."""
    specs = {init: init for init in INITS} | {
        INHERIT: f"{INHERIT}:{donor}?arch={arch}",
        SELECTION: f"{SELECTION}:{donor}",
    }
    inherited = prediction_of(network, data.classes, specs[INHERIT])
    entries, refused = {}, {}
    for init, spec in specs.items():
        try:
            entries[init] = entry_of(data, network, protocol, spec, out=out / data.name / network.name, init=init)
        except ParamgenError as error:
            refused[init] = error.message.replace(str(donor), donor.name)
    end = entries[LIBRARY].final
    steps = {
        init: None
        if end is None or entry.curve is None
        else reached(entry.curve.mean, entry.steps, end.mean, "accuracy")
        for init, entry in entries.items()
    }
    return {
        "data": data.name,
        "classes": data.classes,
        "identity": data.identity,
        "network": network.name,
        "made_by": network.call,
        "parameters": entries[LIBRARY].parameters,
        "by_rule": dict(inherited.by_rule),
        "auto": prediction_of(network, data.classes, AUTO).resolved_init,
        "initializations": {
            init: {**entry.to_json(), "steps_to_library": steps[init]} for init, entry in entries.items()
        },
        "refused": refused,
    }


def prediction_of(network: Network, classes: int, spec: str) -> Prediction:
    """Return the prediction of a network's initial weights."""
    return prepare(network.factory(classes)(), init=spec, example_input=example_of())


def entry_of(data: DataSet, network: Network, protocol: Protocol, spec: str, *, out: Path, init: str) -> Entry:
    """Return the figures of one initialization of one network; they are kept in a folder of `out`."""
    model = model_under_test(
        (network.name, network.factory(data.classes)), "images", data.classes, example=example_of()
    )
    resolved = initializer_of(spec).resolve(model.architecture, model.graph).initializer
    depends = {
        "protocol": protocol.to_json(),
        "data": data.identity,
        "network": network.call,
        "init": dict(resolved.describe()) | {"rules": dict(resolved.rules(model.architecture, model.graph))},
    }
    key = hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()[:10]
    file = out / f"{init}-{key}.json"
    if file.is_file():
        return Entry.from_json(json.loads(file.read_text(encoding="utf-8")))
    images = (data.train, data.test)
    found = compare((network.name, network.factory(data.classes)), images, [spec], protocol, example_input=example_of())
    entry = Entry.of(found.architectures[0])
    write_text(file, json.dumps(entry.to_json(), indent=1) + "\n")
    end = "failed" if entry.final is None else f"{100 * entry.final.mean:.1f} % at learning rate {entry.lr:g}"
    sys.stderr.write(f"{data.name} {network.name} {init}: {end}\n")
    return entry


if __name__ == "__main__":
    main()
