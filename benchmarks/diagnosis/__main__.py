"""What papers found by measures of `diagnose`, found again: `python -m benchmarks.diagnosis jacobian`, another, or all.

Each experiment takes minutes on one core, has five seeds and is kept in `cards/results/diagnosis.json` with where and
with what it was made. It needs scikit-learn, whose digits are learnt: `pip install --group benchmarks`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.diagnosis.experiments import alignment, barrier, bias, jacobian, rank, rate, relative, small_attention
from benchmarks.experiments import run_named

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "diagnosis.json"
EXPERIMENTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "rate": rate,
    "jacobian": jacobian,
    "barrier": barrier,
    "rank": rank,
    "small_attention": small_attention,
    "alignment": alignment,
    "relative": relative,
    "bias": bias,
}


def main() -> None:
    """Run the experiments that are named."""
    run_named(__doc__.partition("\n")[0], EXPERIMENTS, RESULTS)


if __name__ == "__main__":
    main()
