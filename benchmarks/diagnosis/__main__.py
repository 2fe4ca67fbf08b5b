"""What papers found by measures of `diagnose`, found again: `python -m benchmarks.diagnosis jacobian`, another, or all.

Each experiment takes minutes on one core, has five seeds and is kept in `cards/results/diagnosis.json` with where and
with what it was made. It needs scikit-learn, whose digits are learnt: `pip install --group benchmarks`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.diagnosis.experiments import alignment, barrier, jacobian, rank, rate
from benchmarks.provenance import provenance

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "diagnosis.json"
EXPERIMENTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "rate": rate,
    "jacobian": jacobian,
    "barrier": barrier,
    "rank": rank,
    "alignment": alignment,
}


def main() -> None:
    """Run the experiments that are named and write their figures beside those of the others."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("experiments", nargs="+", choices=(*EXPERIMENTS, "all"))
    given = parser.parse_args().experiments
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in EXPERIMENTS if "all" in given else given:
        figures = EXPERIMENTS[name]()
        print(name, json.dumps(figures))
        found[name] = {"figures": figures, **provenance()}
        kept = {each: found[each] for each in EXPERIMENTS if each in found}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
