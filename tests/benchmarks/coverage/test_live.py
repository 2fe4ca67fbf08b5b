"""The benchmark of live modules: what it calls a fault, what it compares, and what it takes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from benchmarks.coverage import live
from benchmarks.coverage.live_network import SEED, compared_with, digests, filled, measure, untouched
from benchmarks.coverage.reach_network import Limits
from paramgen.prediction import prepare

LIMITS = Limits(seconds=300, bytes=64 * 10**9)


class Answers:
    """The end of a pipe that keeps what is sent."""

    row: dict[str, Any]

    def send(self, row: dict[str, Any]) -> None:
        self.row = row

    def close(self) -> None:
        return


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))


def test_a_good_network_has_no_faults_and_the_rules_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    answers: Any = Answers()
    measure("timm:test_resnet", LIMITS, 10**8, answers)
    assert answers.row["faults"] == [] and answers.row["differences"] == []
    assert answers.row["slots_compared"] == answers.row["tensors"] > 50
    measure("timm:test_resnet", LIMITS, 1000, answers)
    assert "of which at most 1,000 are built here" in answers.row["skipped"]


def test_what_changes_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    module, fill = small(), paramgen.initialize_
    assert list(untouched(module, None)) == [] == filled(small(), None)[1]

    def careless(module: Any, **options: Any) -> dict[str, str]:
        rules = fill(module, **options)
        module[0].bias = nn.Parameter(torch.full((4,), torch.nan))
        return {**rules, "0.bias": "kept" if options["init"] == "he" else "library"}

    monkeypatch.setattr(paramgen, "initialize_", careless)
    assert list(untouched(module, None)) == ["library changed 0.bias", "library fills 0.bias by 'library'"]
    faults = filled(small(), None)[1]
    assert faults[0].startswith("0.bias is another tensor") and faults[1] == "he changed 0.bias, which it says is kept"


def test_rules_and_values_are_compared_with_the_names() -> None:
    named = prepare("timm:test_resnet", init="he", seed=SEED)
    import timm

    module = timm.create_model("test_resnet")
    rules, faults = filled(module, named.architecture.example)
    assert faults == [] and compared_with(module, rules, named) == (len(rules), [])
    last = min(name for name, rule in rules.items() if rule == "he")
    assert compared_with(module, {**rules, last: "kept"}, named)[1] == [f"{last}: live kept, by name he"]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert len(compared_with(module, rules, named)[1]) == 3


def test_digests_are_of_every_tensor() -> None:
    module = small()
    module.register_buffer("unsaved", torch.zeros(3, dtype=torch.bfloat16), persistent=False)
    module.register_buffer("scalar", torch.tensor(3, dtype=torch.int64))
    before = digests(module)
    assert before.keys() == {"0.weight", "0.bias", "2.weight", "2.bias", "unsaved", "scalar"}
    held: Tensor = module.get_buffer("unsaved")
    held[1] = 1
    assert [name for name, digest in digests(module).items() if digest != before[name]] == ["unsaved"]


def test_what_is_skipped_is_replaced_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "shuffled", lambda source: ["a", "b", "c", "d", "e"])
    monkeypatch.setattr(live, "_FEW", 2)

    def rows(specs: Any) -> list[dict[str, Any]]:
        return [{"spec": spec, **({"skipped": "large"} if spec == "timm:b" else {"faults": []})} for spec in specs]

    steps = [[row["spec"] for row in found] for found in live.tried("timm", 3, rows)]
    assert steps == [["timm:a", "timm:b"], ["timm:a", "timm:b", "timm:c", "timm:d"]]  # written after each
    found = rows(["timm:a", "timm:b", "timm:c"])
    summary = live.summary([*found, {"spec": "timm:e", "faults": ["it broke"]}])
    assert (summary["tried"], summary["good"], summary["skipped"]) == (3, 2, {"timm:b": "large"})
    assert summary["faults"] == {"timm:e": ["it broke"]}


def test_the_seed_decides_which_are_taken() -> None:
    assert live.shuffled("timm")[:5] == live.shuffled("timm")[:5] != sorted(live.shuffled("timm"))[:5]
    assert len(live.shuffled("torchvision")) == 80


def test_the_page_on_own_modules_quotes_what_was_measured() -> None:
    root = Path(__file__).parents[3]
    sources = json.loads((root / "cards" / "results" / "live.json").read_text(encoding="utf-8"))["sources"]
    page = " ".join((root / "docs" / "how-to" / "module.md").read_text(encoding="utf-8").split())
    tried = {source: found["tried"] for source, found in sources.items()}
    assert tried == {source: found["good"] for source, found in sources.items()}  # no fault is left out of the page
    assert f"Tried on {sum(tried.values())} networks" in page
    assert f"all {tried['torchvision']} classifiers of torchvision, {tried['timm']} of timm, " in page
    assert f"{tried['transformers']} of transformers with fewer layers, {tried['diffusers']} of diffusers" in page
    compared, differing = (
        sum(found[f"slots_{part}_the_name"] for found in sources.values())
        for part in ("compared_with", "differing_from")
    )
    assert f"{compared - differing:,} of {compared:,} tensors" in page and f"the other {differing} are" in page
