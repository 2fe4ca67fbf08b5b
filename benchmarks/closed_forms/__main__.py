"""What closed forms promise, measured: `python -m benchmarks.closed_forms maxout`, or another experiment, or all.

Each experiment takes seconds, has five seeds and is kept in `cards/results/closed_forms.json` with where and with what
it was made; nothing is trained.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.closed_forms.matrices import blocks, cai, lowrank, shift
from benchmarks.closed_forms.signals import edge_of_chaos, graphs, intervals, maxout, state_spaces, topology
from benchmarks.provenance import provenance

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "closed_forms.json"
EXPERIMENTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "lowrank": lowrank,
    "blocks": blocks,
    "shift": shift,
    "cai": cai,
    "maxout": maxout,
    "ibp": intervals,
    "topology": topology,
    "eoc": edge_of_chaos,
    "s4d": state_spaces,
    "virgo": graphs,
}


def main() -> None:
    """Run the experiments that are named and write their figures beside those of the others."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("experiments", nargs="+", choices=(*EXPERIMENTS, "all"))
    given = parser.parse_args().experiments
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    with torch.no_grad():
        for name in EXPERIMENTS if "all" in given else given:
            figures = EXPERIMENTS[name]()
            print(name, json.dumps(figures))
            found[name] = {"figures": figures, **provenance()}
            kept = {each: found[each] for each in EXPERIMENTS if each in found}
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
