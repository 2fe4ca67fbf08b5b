"""What preparations promise, measured: `python -m benchmarks.preparation teacher`, or another experiment, or all.

`teacher` and `guide` read CIFAR-10 from class folders, or a tar of them, that the variable CIFAR10 names, `warmup` a
text that TEXT names; `supermask`, `tickets`, `guide_digits` and `bonsai` take scikit-learn's digits. SEEDS says how
many seeds, 5 if it does not. Minutes each on one core; the figures are kept in `cards/results/preparation.json` with
where and with what they were made.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.experiments import run_named
from benchmarks.preparation.classifiers import guide, guide_digits, supermask, teacher
from benchmarks.preparation.language import warmup
from benchmarks.preparation.shortcut import bonsai
from benchmarks.preparation.tickets import tickets

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "preparation.json"
EXPERIMENTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "teacher": teacher,
    "guide": guide,
    "guide_digits": guide_digits,
    "supermask": supermask,
    "tickets": tickets,
    "warmup": warmup,
    "bonsai": bonsai,
}


def main() -> None:
    """Run the experiments that are named."""
    run_named(__doc__.partition("\n")[0], EXPERIMENTS, RESULTS)


if __name__ == "__main__":
    main()
