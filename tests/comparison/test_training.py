"""Training is the same for every initialization, honest about batch norms, and survives what goes wrong."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.comparison import Event, Pixels, Protocol, training
from paramgen.comparison.comparing import compare

SMALL: dict[str, Any] = {"steps": 4, "seeds": 1, "lr": (1e-2,), "batch": 8, "evaluations": 2}


@pytest.fixture
def arrays() -> tuple[Pixels, Pixels]:
    """Bright and dark pictures."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    noise = torch.randint(0, 100, (40, 3, 8, 8), generator=generator)
    given = Pixels(pixels=(noise + 120 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels=labels)
    return given, given


def build() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))


EXAMPLE: tuple[tuple[Any, ...], dict[str, Any]] = ((torch.zeros(2, 3, 8, 8),), {})


def run(requested: Any, arrays: Any, **options: Any) -> dict[str, Any]:
    init = options.pop("init", ("library",))
    found = compare(requested, arrays, init, Protocol(**SMALL | options), example_input=EXAMPLE)
    return json.loads(json.dumps(found.to_json()))


def test_it_learns_and_leaves_the_caller_alone(arrays: tuple[Pixels, Pixels]) -> None:
    torch.manual_seed(5)
    module = build()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random = torch.random.get_rng_state()
    (found,) = run(module, arrays, steps=30)["architectures"]
    assert found["initializations"][0]["final"]["mean"] > 0.9
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_same_call_gives_the_same_figures(arrays: tuple[Pixels, Pixels]) -> None:
    one, other = (run(("own", build), arrays, seeds=2)["architectures"][0]["initializations"][0] for _ in range(2))
    assert one["curve"] == other["curve"]
    assert one["curve"]["values"][-1][0] != one["curve"]["values"][0][0]


def test_every_initialization_sees_the_same_data_and_dropout(arrays: tuple[Pixels, Pixels]) -> None:
    seen: list[float] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))

        def forward(self, images: Tensor) -> Tensor:
            if self.training and not images.is_meta and type(images) is Tensor:
                seen.append(float(nn.functional.dropout(images, 0.5).sum()))
            return self.network(images)

    run(("spy", Spy), arrays, init=("library", "orthogonal"), lr=(1e-2, 1e-3), widen=0)
    assert len(seen) == 16
    torch.manual_seed(7)  # the caller's random numbers decide nothing
    run(("spy", Spy), arrays)
    assert seen[16:] == seen[:4]
    del seen[16:]
    assert seen[:4] == seen[4:8] == seen[8:12] == seen[12:]
    assert len(set(seen[:4])) == 4


class Shifted(nn.Module):
    """Blind until its batch norm knows the data: without statistics, one class gets everything."""

    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, momentum=momentum)
        self.norms: list[Tensor] = []
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-1.0] * 3, [1.0] * 3]))
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(images + 50).mean((2, 3)))


@pytest.mark.parametrize("momentum", [0.1, 0.01, None])
def test_weights_are_tested_with_batch_norms_that_know_the_data(
    arrays: tuple[Pixels, Pixels], momentum: float | None
) -> None:
    """torchvision's MobileNetV3 has a momentum of 0.01 and would be at chance for hundreds of steps."""
    (found,) = run(("shifted", lambda: Shifted(momentum)), arrays, lr=(1e-9,), steps=1)["architectures"]
    result = found["initializations"][0]
    assert result["zero_shot"]["mean"] == result["final"]["mean"] == 1.0
    assert [reached["mean"] for reached in result["by_lr"].values()] == [1.0]


def test_batch_norms_that_have_settled_are_tested_as_training_left_them(arrays: tuple[Pixels, Pixels]) -> None:
    tested: list[Tensor] = []

    class Spy(Shifted):
        def forward(self, images: Tensor) -> Tensor:
            if not self.training and type(images) is Tensor and not images.is_meta:
                tested.append(dict(self.norm.named_buffers())["num_batches_tracked"].clone())
            return super().forward(images)

    run(("spy", lambda: Spy(momentum=1.0)), arrays, lr=(1e-9,), steps=1)
    before, after = int(tested[0]), [int(count) for count in tested[-2:]]
    assert before == 0
    assert after == [1, 1]  # one step of training, and nothing but that


def test_a_run_that_diverges_is_guessing_from_there_on(arrays: tuple[Pixels, Pixels]) -> None:
    class Explosive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(192, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.linear(images.flatten(1)).exp().exp()

    (found,) = run(("explosive", Explosive), arrays, lr=(1e4,))["architectures"]
    result = found["initializations"][0]
    assert result["diverged"] == result["at_chance"] == 1
    assert result["final"]["mean"] == found["task"]["chance"]
    assert any("diverged" in sentence for sentence in found["conclusion"]["sentences"])


def test_a_run_that_fails_is_recorded_and_the_others_go_on(arrays: tuple[Pixels, Pixels], tmp_path: Path) -> None:
    steps: Iterator[int] = iter(range(10**6))

    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(192, 2)

        def forward(self, images: Tensor) -> Tensor:
            if self.training and type(images) is Tensor and not images.is_meta and next(steps) == 1:
                raise RuntimeError("no memory\nat all")
            return self.linear(images.flatten(1))

    events: list[Event] = []
    results = paramgen.compare(
        ("fragile", Fragile),
        arrays,
        init=("library",),
        example_input=EXAMPLE[0],
        out=tmp_path / "out",
        progress=events.append,
        **SMALL | {"lr": (1e-2, 1e-3), "widen": 0},
    )
    result = results.to_json()["architectures"][0]["initializations"][0]
    assert (result["failed"], result["reasons"], result["lr"]) == (1, ["RuntimeError: no memory at all"], 1e-3)
    assert [event.ended.status for event in events if event.ended] == ["failed", "finished"]
    assert events[-1].done == events[-1].total == 8
    assert "failed (RuntimeError: no memory at all)" in (tmp_path / "out" / "index.html").read_text()


def test_several_networks_are_concluded_one_by_one(arrays: tuple[Pixels, Pixels]) -> None:
    found = run([("one", build), ("other", build)], arrays)
    assert {sentence.partition(":")[0] for sentence in found["conclusion"]} == {"one", "other"}
    assert found["versions"]["torch"] == torch.__version__ and found["hardware"]["device"] == "cpu"
    assert found["versions"]["scipy"] == version("scipy")  # the tests and intervals are its


def test_nothing_larger_than_the_images_is_guessed(arrays: tuple[Pixels, Pixels]) -> None:
    seen: set[torch.Size] = set()

    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.add(images.shape[2:])
            return self.head(self.stem(images).mean((2, 3)))

    found = compare(("looking", Looking), arrays, ("library",), Protocol(**SMALL)).to_json()
    assert seen == {torch.Size([8, 8])}
    assert "looking is given images of 8x8, as yours are" in json.dumps(found)


def test_what_its_owner_froze_stays_frozen(arrays: tuple[Pixels, Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[dict[str, Tensor]] = []
    original = training._measured

    def measured(job: Any, module: nn.Module, *given: Any, **named: Any) -> Any:
        before = {name: value.clone() for name, value in module.named_parameters()}
        found = original(job, module, *given, **named)
        trained.append({name: value - before[name] for name, value in module.named_parameters()})
        return found

    monkeypatch.setattr(training, "_measured", measured)
    module: Any = build()
    module[0].requires_grad_(False)
    run(module, arrays)
    (moved,) = trained
    assert not moved["0.weight"].any() and not moved["0.bias"].any()
    assert moved["3.weight"].any() and moved["1.weight"].any()


def test_a_grid_is_widened_beyond_its_edge_and_the_results_have_all_of_it(arrays: tuple[Pixels, Pixels]) -> None:
    events: list[Event] = []
    found = compare(
        ("own", build),
        arrays,
        ("library",),
        Protocol(**SMALL | {"lr": (1e-9, 1e-8), "widen": 2, "seeds": 2}),
        example_input=EXAMPLE,
        progress=events.append,
    ).to_json()
    result = found["architectures"][0]["initializations"][0]
    tried = [float(lr) for lr in result["by_lr"]]
    assert len(tried) > 2 and min(tried) <= result["lr"] <= max(tried)
    assert all(figures["values"] for figures in result["by_lr"].values())
    assert events[-1].done == events[-1].total == 4 * (len(tried) + 1)


def test_no_test_image_has_a_say_in_the_learning_rate(arrays: tuple[Pixels, Pixels]) -> None:
    train, test = arrays
    wrong = Pixels(pixels=test.pixels, labels=1 - test.labels)  # on which a learning rate that learns does worst
    options: dict[str, Any] = {"lr": (1e-6, 1e-3, 1e-2), "steps": 20, "widen": 0}
    one, other = (run(("own", build), (train, given), **options)["architectures"][0] for given in (test, wrong))
    assert one["initializations"][0]["lr"] == other["initializations"][0]["lr"]
    assert one["initializations"][0]["final"]["mean"] == pytest.approx(1 - other["initializations"][0]["final"]["mean"])
    assert one["task"]["validation"] == 8 and one["task"]["train"] == 32


def test_a_live_module_begins_with_what_it_holds_for_every_seed(arrays: tuple[Pixels, Pixels]) -> None:
    def plain() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 2))

    untrained = {"steps": 1, "seeds": 3, "lr": (1e-12,), "widen": 0, "init": ("library",)}
    results = run(plain(), arrays, **untrained)
    (found,) = results["architectures"]
    curves = found["initializations"][0]["curve"]["values"]
    assert len(set(curves[0])) == 1, "all seeds begin at the same values"
    assert "is a live module: what an initializer leaves alone is what it holds" in json.dumps(results)
    (drawn,) = run(("own", plain), arrays, **untrained)["architectures"]
    assert "live module" not in json.dumps(drawn)


def test_a_lazy_module_is_compared(arrays: tuple[Pixels, Pixels]) -> None:
    def lazy() -> nn.Module:
        return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))

    for requested in (lazy(), ("lazy", lazy)):
        (found,) = run(requested, arrays, steps=2)["architectures"]
        assert found["parameters"] == sum(parameter.numel() for parameter in build().parameters())


def test_what_is_pruned_stays_zero_while_it_is_trained(arrays: tuple[Pixels, Pixels]) -> None:
    seen: list[tuple[bool, int]] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(192, 2)

        def forward(self, images: Tensor) -> Tensor:
            if type(images) is Tensor and not images.is_meta:
                seen.append((self.training, int((self.linear.weight != 0).sum())))
            return self.linear(images.flatten(1))

    inits = ("he", "he|prune:magnitude?keep=0.25&rescale=none", "he|share?keep=0.125")
    (found,) = run(("spy", Spy), arrays, init=inits[:2], steps=3)["architectures"]
    sizes = {each["init"]: (each.get("numbers"), each.get("nbytes")) for each in found["initializations"]}
    assert sizes == {inits[0]: (None, None), inits[1]: (96 + 2, 4 * (96 + 2) + 384 // 8)}  # a bit a weight says which
    counts = [count for training, count in seen if training]
    assert set(counts[: len(counts) // 2]) == {384}
    assert set(counts[len(counts) // 2 :]) == {96}
    (found,) = run(("spy", Spy), arrays, init=inits[2:], steps=3)["architectures"]
    (shared,) = found["initializations"]
    assert (shared["numbers"], shared["nbytes"]) == (48 + 2, 4 * (48 + 2) + 8)
