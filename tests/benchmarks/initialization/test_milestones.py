import json
from pathlib import Path

from benchmarks.initialization.milestones import summary


def test_a_step_that_was_taken_again_counts_once(tmp_path: Path) -> None:
    def line(step: int, accuracy: float) -> str:
        return json.dumps({"step": step, "dataset": "cifar10", "accuracy": [accuracy], "seconds": {"predict": 30.0}})

    judged = json.dumps({"step": 1, "evaluation": {"wide ResNet 0": 0.3}})
    (tmp_path / "log.jsonl").write_text("\n".join([line(0, 0.1), line(1, 0.2), judged, line(1, 0.4)]) + "\n")
    found = summary(tmp_path)
    assert found["steps"] == 2 and found["minutes"] == 1.0
    assert found["training_accuracy"] == {"cifar10": 0.4} and found["judged"] == {2: {"wide ResNet 0": 0.3}}
