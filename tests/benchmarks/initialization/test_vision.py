import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.initialization import vision
from benchmarks.initialization.known import Known
from benchmarks.initialization.rows import Entry, Row, with_figures
from benchmarks.initialization.table import INITS, REQUIRED, markdown, summary_of
from benchmarks.initialization.vision import DataSet, VisionBenchmark
from benchmarks.initialization.vision_networks import Network, networks
from paramgen.architectures import Inputs
from paramgen.comparison import Event, Pixels, Protocol
from paramgen.comparison.models import model_under_test
from paramgen.comparison.results import (
    ArchitectureResult,
    AtBestLr,
    Conclusion,
    Curve,
    InitializationResult,
    TaskSummary,
)
from paramgen.comparison.run_record import RunRecord
from paramgen.comparison.runs import RunId
from paramgen.initializers.auto import MEASURED_CONTROLS

ROOT = Path(__file__).parents[3]
PROTOCOL = Protocol(steps=2, seeds=1, lr=1e-3, batch=4, evaluations=2, test_examples=8)
FOREVER = float("inf")


def pixels(count: int, seed: int) -> Pixels:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Pixels(pixels=drawn, labels=torch.arange(count) % 3)


@pytest.fixture
def data() -> DataSet:
    return DataSet.of("arrays", pixels(24, 0), pixels(9, 1))


def own_cnn() -> Network:
    return next(network for network in networks() if network.name == "own-cnn")


def entry(end: float, *, first: float = 0.1, middle: float = 0.2) -> Entry:
    """An initialization that has `middle` after 150 of 300 steps and `end` after all."""
    return Entry(
        parameters=7,
        chance=0.1,
        lr=1e-3,
        steps=(0, 150, 300),
        curve=Curve.of([[first, middle, end], [first, middle, end]]),
    )


def row(hypernet: Entry, *, data: str = "cifar10", best: float = 0.4) -> Row:
    entries = {init: entry(0.3) for init in INITS} | {"lsuv": entry(best), "hypernet": hypernet}
    return Row(
        data=data,
        network="net",
        family="cnn",
        domain="a domain",
        made_by="Net()",
        beyond=False,
        metric="accuracy",
        entries=with_figures(entries | {"mimetic": Entry(same_as="library")}),
    )


def outcome(init: str) -> ArchitectureResult:
    """What a comparison of one initialization measured."""
    curve = Curve.of([[0.1, 0.2, 0.3]])
    best = AtBestLr(
        lr=1e-3,
        lr_at_edge=None,
        seeds=(0,),
        diverged=0,
        at_chance=0,
        steps=(0, 150, 300),
        curve=curve,
        area=curve.at(0),
        seconds=curve.at(0),
        init_seconds=curve.at(0),
    )
    result = InitializationResult(init=init, simple=True, by_lr={}, failed=0, reasons=(), diverged=0, best=best)
    task = TaskSummary(metric="accuracy", chance=0.1, at_chance_up_to=0.1, unit="image", train=1, validation=1, test=1)
    return ArchitectureResult(
        name="net",
        spec="net",
        parameters=7,
        task=task,
        notes=(),
        best_simple=init,
        initializations=(result,),
        conclusion=Conclusion(best=None, tied=(init,), sentences=()),
    )


def test_one_initialization_is_trained_for_real_and_found_again(
    tmp_path: Path, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = VisionBenchmark(tmp_path / "out", PROTOCOL, [data], hypernet="hypernet")
    assert table.run([own_cnn()], ["library", "mimetic"], until=FOREVER)
    found = table.result()
    assert found["rows"] == [] and found["summary"] == {}
    (partial,) = found["partial"]
    assert set(partial["missing"]) == set(REQUIRED) - {"library"}
    assert (
        partial["initializations"]["mimetic"]["same_as"] == "library"
    )  # it has no rule for a network without attention
    assert partial["initializations"]["mimetic"]["final"] == partial["initializations"]["library"]["final"]
    assert partial["initializations"]["library"]["steps"] == [0, 1, 2] and partial["parameters"] == 40_983
    monkeypatch.setattr(vision, "compare", pytest.fail)
    assert table.run([own_cnn()], ["library", "mimetic"], until=FOREVER)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Comparisons that end at once, and what was requested."""
    requested: list[str] = []

    def compare(
        network: tuple[str, Callable[[], Any]],
        _data: tuple[Pixels, Pixels],
        inits: Sequence[str],
        protocol: Protocol,
        *,
        example_input: Inputs,
        progress: Callable[[Event], None],
    ) -> SimpleNamespace:
        requested.append(f"{network[0]} {inits[0]}")
        run = RunId(architecture=network[0], init=inits[0], lr=1e-3, seed=0)
        progress(Event(run=run, done=2, total=2, ended=RunRecord(status="finished")))
        return SimpleNamespace(architectures=(outcome(inits[0]),))

    monkeypatch.setattr(vision, "compare", compare)
    return requested


def test_simple_initializations_stay_when_the_hypernet_changes(
    tmp_path: Path, data: DataSet, compared: list[str]
) -> None:
    first = VisionBenchmark(tmp_path, PROTOCOL, [data], hypernet="hypernet")
    assert first.run([own_cnn()], INITS, until=FOREVER)
    assert [line.split()[1] for line in compared][:2] == ["library", "hypernet"]
    assert len(compared) == len(INITS) - 1  # mimetic is the default initialization here
    assert len(first.result()["rows"]) == 1
    compared.clear()
    described: Mapping[str, Any] = {"hypernet": "another", "sha256": "other"}
    other = VisionBenchmark(tmp_path, PROTOCOL, [data], hypernet="hypernet")
    other._described |= dict.fromkeys(("hypernet", *MEASURED_CONTROLS), dict(described))
    assert other.result()["rows"] == []
    assert other.run([own_cnn()], INITS, until=FOREVER)
    assert compared == ["own-cnn hypernet", "own-cnn matched:hypernet", "own-cnn shuffled:hypernet"]


@pytest.mark.parametrize("trained_anew", [False, True])
def test_a_result_of_the_same_is_taken_over(
    tmp_path: Path, data: DataSet, compared: list[str], trained_anew: bool
) -> None:
    first = VisionBenchmark(tmp_path / "first", PROTOCOL, [data], hypernet="hypernet")
    assert first.run([own_cnn()], INITS, until=FOREVER)
    result = json.loads(json.dumps(first.result()))
    compared.clear()
    earlier = {**result, "hypernet": {"sha256": "of another"}} if trained_anew else result
    table = VisionBenchmark(tmp_path / "next", PROTOCOL, [data], hypernet="hypernet", known=[earlier])
    assert table.run([own_cnn()], INITS, until=FOREVER)
    anew = [f"own-cnn {init}" for init in ("hypernet", *MEASURED_CONTROLS)]
    assert compared == (anew if trained_anew else [])
    assert table.result()["rows"] == result["rows"] and table.result()["known"][0]["rows"] == ["arrays own-cnn"]


@pytest.mark.parametrize("changed", ["protocol", "data"])
def test_another_protocol_or_data_set_takes_nothing_over(
    tmp_path: Path, data: DataSet, compared: list[str], changed: str
) -> None:
    first = VisionBenchmark(tmp_path / "first", PROTOCOL, [data], hypernet="hypernet")
    assert first.run([own_cnn()], INITS, until=FOREVER)
    protocol = replace(PROTOCOL, steps=3) if changed == "protocol" else PROTOCOL
    other = DataSet.of("arrays", pixels(24, 2), pixels(9, 1)) if changed == "data" else data
    assert Known(first.result(), protocol, {"arrays": other.identity}, hypernet={}).to_json()["rows"] == []


def test_out_of_time_writes_what_there_is(tmp_path: Path, data: DataSet, compared: list[str]) -> None:
    table = VisionBenchmark(tmp_path, PROTOCOL, [data], hypernet="hypernet")
    written: list[Any] = []
    assert not table.run([own_cnn()], INITS, until=time.monotonic(), write=lambda: written.append(table.result()))
    assert compared == [] and [(each["rows"], each["partial"]) for each in written] == [([], [])]


def test_steps_are_counted_to_where_the_best_simple_initialization_ends() -> None:
    won, tied, lost = row(entry(0.5, middle=0.4)), row(entry(0.396)), row(entry(0.39), data="tiny")
    assert won.best_simple == "lsuv"
    assert won.steps_to_best_simple("hypernet") == 150
    assert won.steps_to_best_simple("lsuv") == 300
    assert lost.steps_to_best_simple("hypernet") is None
    found = summary_of([won, tied, lost])
    assert found["wins_or_ties"] == pytest.approx(2 / 3, abs=1e-4) and found["wins"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["median_steps_ratio"] == 0.0 and found["by_data"]["cifar10"]["wins_or_ties"] == 1.0
    assert summary_of([won])["median_steps_ratio"] == 2.0
    assert found["zero_shot"]["hypernet"] == 0.1


def test_an_initialization_that_failed_loses(tmp_path: Path) -> None:
    failed = row(Entry(parameters=7, chance=0.1, failed=3, reasons=("it broke",)))
    assert summary_of([failed])["wins_or_ties"] == 0.0
    assert "failed" in markdown(result([failed]))


def result(rows: list[Row]) -> dict[str, Any]:
    figures = {"steps": 300, "seeds": 3, "lr": [1e-3, 3e-3], "batch": 64, "test_examples": 2000}
    return {**figures, "rows": [each.to_json() for each in rows], "summary": summary_of(rows)}


def test_the_command_renders_a_result(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text(json.dumps(result([row(entry(0.5, middle=0.4)), row(entry(0.39), data="tiny")])))
    command = [sys.executable, "-m", "benchmarks.initialization.vision", "--render", str(file)]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "wins or ties (within 0.5 points of the best simple initialization) on 50 %" in text
    assert "| `net` | 7 | 30.0 ± 0.0 | 30.0 ± 0.0 | **40.0** ± 0.0 | 30.0 ± 0.0 | 30.0 ± 0.0 | 30.0 ± 0.0 |" in text
    assert "| network | parameters | library | orthogonal | lsuv | matched:hypernet | shuffled:hypernet |" in text
    assert "## tiny (a domain)" in text
    assert "| **50.0** ± 0.0 | 10.0 | 150 |" in text and "| 39.0 ± 0.0 | 10.0 | not reached |" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--data cifar10=PATH"),
        (["--data", "cifar10"], "--data cifar10=PATH"),
        (["--networks", "resnet"], "timm-resnet-16"),
        (["--inits", "zero"], "library"),
        (["--data", "a=b", "--part", "a=third"], "even"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vision", *arguments])
    with pytest.raises(SystemExit) as ended:
        vision.main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_there_are_enough_networks_of_enough_families() -> None:
    found = networks()
    assert len({network.name for network in found}) == len(found) >= 14
    assert len({network.family for network in found}) >= 6
    assert sum(network.beyond for network in found) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("network", networks(), ids=lambda network: network.name)
def test_every_network_takes_its_images_and_classes(network: Network) -> None:
    model = model_under_test((network.name, network.factory(100)), "images", 100, example=vision.example_of())
    assert model.logits(model.template.eval(), torch.zeros(2, 3, 32, 32)).shape == (2, 100)
