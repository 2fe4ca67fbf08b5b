"""What `auto` takes for networks that its table has no row of, tried: `python -m benchmarks.initialization.trials`.

    python -m benchmarks.initialization.trials --data NAME=PATH --networks timm:ghostnet_100 torchvision:mnasnet1_0

Networks of timm and torchvision that people name are trained from their library's initialization and from what `auto`
takes for them, by the protocol of the tables but with fewer seeds and learning rates: enough to see that a family is
too wide, not for a row of the table. Those for which `auto` takes the library's are listed and not trained.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.initialization.inherited import entry_of, prediction_of
from benchmarks.initialization.real_networks import network_named
from benchmarks.initialization.vision import BATCH, DataSet, add_data_options, data_sets
from benchmarks.provenance import provenance
from paramgen.comparison import Protocol
from paramgen.errors import ParamgenError
from paramgen.initializers.auto import AUTO, LIBRARY
from paramgen.storage.folder import write_text

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "auto_trials.json"
LEARNING_RATES: Final = (5e-4, 2e-3, 8e-3)
NAMES: Final = (
    "torchvision:shufflenet_v2_x1_0",
    "timm:mobilenetv4_conv_small",
    "timm:deit_tiny_distilled_patch16_224",
    "torchvision:mnasnet1_0",
    "timm:tinynet_c",
    "timm:lcnet_100",
    "timm:eva02_tiny_patch14_224",
    "torchvision:mobilenet_v2",
    "timm:levit_128s",
    "timm:ghostnet_100",
    "timm:rexnet_100",
    "timm:cait_xxs24_224",
    "timm:mixnet_s",
)


def main() -> None:
    """Run what is missing and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_data_options(parser)
    parser.add_argument("--networks", nargs="+", default=NAMES, help="as timm:NAME or torchvision:NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/trials"), help="where runs are kept")
    parser.add_argument("--result", type=Path, default=RESULTS, help="the result file")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    protocol = Protocol(
        steps=given.steps, batch=BATCH, seeds=given.seeds, lr=LEARNING_RATES, evaluations=3, test_examples=500
    )
    rows: list[Mapping[str, Any]] = []
    try:
        for data in data_sets(given):
            for name in given.networks:
                rows.append(row_of(data, name, protocol, out=given.out))
                result = {"protocol": protocol.to_json(), "rows": rows, **provenance()}
                write_text(given.result, json.dumps(result, indent=1) + "\n")
    except ParamgenError as error:
        sys.stderr.write(f"{error.message}\n")
        raise SystemExit(2) from error


def row_of(data: DataSet, name: str, protocol: Protocol, *, out: Path) -> dict[str, Any]:
    """Return what `auto` takes for a network, and where that and the library's initialization end."""
    network = replace(network_named(name), name=name.replace(":", "-"))
    choice = prediction_of(network, data.classes, AUTO).choice
    chosen = LIBRARY if choice is None else choice.init
    about = {"data": data.name, "network": name, "made_by": network.call, "auto": chosen}
    if chosen == LIBRARY:
        return {**about, "family": None if choice is None else choice.family}
    place = out / data.name / network.name
    entries = {
        init: entry_of(data, network, protocol, spec, out=place, init=init)
        for init, spec in ((LIBRARY, LIBRARY), (AUTO, chosen))
    }
    kept = {init: entry.to_json() for init, entry in entries.items()}
    return {**about, "parameters": entries[LIBRARY].parameters, "initializations": kept}


if __name__ == "__main__":
    main()
