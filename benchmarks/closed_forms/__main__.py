"""What closed forms promise, measured: `python -m benchmarks.closed_forms maxout`, or another experiment, or all.

Each experiment takes seconds, those that train take minutes. It has five seeds unless it says otherwise, and is kept in
`cards/results/closed_forms.json` with where and with what it was made.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.closed_forms import language, training
from benchmarks.closed_forms.matrices import blocks, cai, lowrank, shift
from benchmarks.closed_forms.signals import edge_of_chaos, graphs, intervals, maxout, state_spaces, topology
from benchmarks.experiments import run_named

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
    "rezero": training.rezero,
    "orthogonal": training.orthogonal,
    "eoc trained": training.edge_of_chaos,
    "rescale_": language.rescaling,
    "mup": language.learning_rates,
}


def main() -> None:
    """Run the experiments that are named."""
    with torch.no_grad():
        run_named(__doc__.partition("\n")[0], EXPERIMENTS, RESULTS)


if __name__ == "__main__":
    main()
