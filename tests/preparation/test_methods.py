"""What each preparation does to a network of timm."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import paramgen
from paramgen.comparison import Pixels
from paramgen.errors import ArchitectureError, OptionError
from paramgen.preparation import Objective, Pupil, training
from paramgen.preparation.bonsai import Bonsai
from paramgen.preparation.guide import linear_cka, paired
from paramgen.preparation.triplets import read_triplets

RESNET: dict[str, Any] = {"example_input": "2x3x8x8", "batch": 8}


def prepared(folder: Path, how: str, **options: Any) -> dict[str, torch.Tensor]:
    paramgen.prepare("timm:test_resnet", folder, how=how, **RESNET | options)
    return load_file(folder / "model.safetensors")


def described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "paramgen.json").read_text())["initializer"]["preparation"]


def test_distill_comes_near_the_trained_model(tmp_path: Path, arrays: Any) -> None:
    paramgen.write(
        "timm:test_resnet", tmp_path / "trained", init="he", overrides={"num_classes": 4}, example_input="2x3x8x8"
    )
    before = (tmp_path / "trained" / "model.safetensors").read_bytes()
    prepared(tmp_path / "out", f"distill:{tmp_path / 'trained'}?temperature=1", data=arrays, steps=12, lr=3e-3)
    found = described(tmp_path / "out")
    assert found["loss"] < 0.9 * found["first_loss"]
    assert len(found["sha256"]) == 64 and found["options"]["temperature"] == 1
    assert (tmp_path / "trained" / "model.safetensors").read_bytes() == before


def test_distill_refuses_a_model_that_answers_otherwise(tmp_path: Path, arrays: Any) -> None:
    paramgen.write(
        "timm:test_resnet", tmp_path / "t", init="library", overrides={"num_classes": 7}, example_input="2x3x8x8"
    )
    with pytest.raises(OptionError) as caught:
        prepared(tmp_path / "out", f"distill:{tmp_path / 't'}", data=arrays)
    assert caught.value.message.endswith("Type: --set num_classes=7")
    with pytest.raises(OptionError, match="There is no folder"):
        prepared(tmp_path / "out", "distill:nowhere", data=arrays)


def test_distill_learns_a_text_from_a_language_model(tmp_path: Path, gpt2: dict[str, Any]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the owl and the pussycat went to sea " * 60)
    paramgen.write("gpt2", tmp_path / "larger", init="he", overrides=gpt2 | {"n_embd": 24})
    how = f"distill:{tmp_path / 'larger'}"
    paramgen.prepare("gpt2", tmp_path / "out", how=how, data=text, steps=3, batch=4, overrides=gpt2)
    assert described(tmp_path / "out")["data"]["name"] == str(text)


def test_a_teacher_needs_no_labels_and_leaves_the_output_alone(tmp_path: Path, arrays: Any) -> None:
    how = "teacher?hidden=16&bottleneck=8&outputs=32&alpha=0.2"
    one = prepared(tmp_path / "one", how, data=arrays, steps=3)
    other = arrays[0].__class__(pixels=arrays[0].pixels, labels=arrays[0].labels.flip(0))
    two = prepared(tmp_path / "two", how, data=(other, other), steps=3)
    assert all(torch.equal(one[name], two[name]) for name in one)
    paramgen.write(
        "timm:test_resnet", tmp_path / "plain", init="library", overrides={"num_classes": 4}, example_input="2x3x8x8"
    )
    plain = load_file(tmp_path / "plain" / "model.safetensors")
    assert torch.equal(plain["fc.weight"], one["fc.weight"])
    assert not torch.equal(plain["conv1.0.weight"], one["conv1.0.weight"])


def test_a_teacher_is_for_images(tmp_path: Path, gpt2: dict[str, Any]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the owl and the pussycat went to sea " * 60)
    with pytest.raises(OptionError, match="is for images"):
        paramgen.prepare("gpt2", tmp_path / "out", how="teacher", data=text, overrides=gpt2, batch=4)


def test_a_guide_brings_layers_near_without_data(tmp_path: Path) -> None:
    prepared(tmp_path / "out", "guide:timm:test_efficientnet", steps=6, batch=32)
    found = described(tmp_path / "out")
    assert found["loss"] < found["first_loss"] and "data" not in found


def test_a_guide_needs_examples_and_the_same_input(tmp_path: Path, arrays: Any) -> None:
    with pytest.raises(OptionError, match="needs 32 examples"):
        prepared(tmp_path / "out", "guide:timm:test_efficientnet", data=arrays)
    with pytest.raises(OptionError, match="does not run on 32x3x8x8"):
        prepared(tmp_path / "out", "guide:timm:test_vit", data=arrays, batch=32)


def test_cka_is_one_for_turned_features_and_small_for_others() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 6, generator=generator)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    assert float(linear_cka(features, 3 * features @ turn + 5)) == pytest.approx(1, abs=1e-5)
    assert float(linear_cka(features, torch.randn(400, 6, generator=generator))) < 0.1
    assert paired(["a", "b", "c"], ["1", "2", "3", "4", "5"]) == [("a", "1"), ("b", "3"), ("c", "5")]


def test_a_supermask_keeps_some_weights_of_one_size(tmp_path: Path, arrays: Any) -> None:
    found = prepared(tmp_path / "out", "supermask", data=arrays, steps=24, lr=1e-2)
    weight = found["layer1.0.conv1.weight"]
    size = (2 / weight[0].numel()) ** 0.5
    assert sorted(weight.unique().tolist()) == pytest.approx([-size, 0.0, size], abs=1e-6)
    assert int((weight != 0).sum()) == round(0.1 * weight.numel())
    assert not found["fc.bias"].any()
    assert bool((found["layer1.0.bn2.weight"] == 1).all())  # timm makes it zero, and then no mask behind it is trained
    assert described(tmp_path / "out")["loss"] < described(tmp_path / "out")["first_loss"]
    module = paramgen.masked(paramgen.load(tmp_path / "out"), tmp_path / "out").train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.randn(4, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    trained = paramgen.unmasked(module).state_dict()["layer1.0.conv1.weight"]
    assert bool((trained[weight == 0] == 0).all()) and not torch.equal(trained, weight)


def test_tickets_keep_the_initial_values_of_what_training_makes_large(tmp_path: Path, arrays: Any) -> None:
    how = "tickets?keep=0.2&rounds=3"
    found = prepared(tmp_path / "out", how, data=arrays, steps=12, lr=1e-2, init="he", seed=3)
    paramgen.write(
        "timm:test_resnet", tmp_path / "he", init="he", seed=3, overrides={"num_classes": 4}, example_input="2x3x8x8"
    )
    before = load_file(tmp_path / "he" / "model.safetensors")
    masks = json.loads((tmp_path / "out" / "paramgen.json").read_text())["masks"]
    assert masks["kept"] == round(0.2 * masks["of"]) == sum(masks["by_tensor"].values())
    for name, count in masks["by_tensor"].items():
        kept = found[name] != 0
        assert int(kept.sum()) == count and torch.equal(found[name][kept], before[name][kept])
    others = set(found) - set(masks["by_tensor"])
    assert others and all(torch.equal(found[name], before[name]) for name in others)
    small = {name: before[name].abs() < before[name].abs().median() for name in masks["by_tensor"]}
    assert any(bool((found[name][each] != 0).any()) for name, each in small.items())  # training decides, not the size
    one = prepared(tmp_path / "one", "tickets?keep=0.2&rounds=1", data=arrays, steps=12, lr=1e-2, init="he", seed=3)
    assert any(not torch.equal(one[name] != 0, found[name] != 0) for name in masks["by_tensor"])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("tickets?keep=0", "keep is 0"),
        ("tickets?rounds=0", "rounds is 0. Allowed: a whole number from 1 to 100"),
        ("tickets?by=es", "by is 'es'. Allowed: magnitude"),
        ("tickets?rounds=9", "9 rounds take a step each, and there are 8. Pass: steps=900"),
    ],
)
def test_tickets_that_nothing_can_be_made_of_are_refused(how: str, said: str, tmp_path: Path, arrays: Any) -> None:
    with pytest.raises(OptionError) as caught:
        prepared(tmp_path / "out", how, data=arrays, steps=8)
    assert said in str(caught.value) and not (tmp_path / "out").exists()


def test_a_network_without_an_output_layer_is_refused(tmp_path: Path) -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3))[:, :1] * self.scale

    with pytest.raises(ArchitectureError, match="output layer"):
        paramgen.prepare(Bare(), tmp_path / "out", how="warmup", example_input="2x3x8x8", batch=2, steps=1)


def connected() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 2))


@pytest.fixture(scope="module")
def misleading() -> dict[str, Any]:
    """How to prepare on pictures with a loud hint that is wrong in a fifth; what is right everywhere is faint."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    hint = torch.where(torch.arange(200) % 10 < 2, 1 - labels, labels)
    noise = torch.randint(0, 60, (200, 3, 8, 8), generator=generator)
    noise[:, 0, :4] += 190 * hint.view(-1, 1, 1)
    noise[:, 1, 4:] += 12 * labels.view(-1, 1, 1)
    pixels = Pixels(pixels=noise.to(torch.uint8), labels=labels)
    return {"how": "bonsai", "data": (pixels, pixels), "lr": 1e-3, **RESNET, "batch": 32}


def test_a_later_round_of_bonsai_is_right_where_a_shortcut_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misleading: dict[str, Any]
) -> None:
    kept: list[tuple[Any, Any]] = []
    made = Bonsai.objective

    def keeping(self: Bonsai, pupil: Pupil) -> Objective:
        kept.append((pupil, made(self, pupil)))
        return kept[0][1]

    monkeypatch.setattr(Bonsai, "objective", keeping)
    paramgen.prepare(connected(), tmp_path / "out", steps=60, **misleading)
    ((pupil, objective),) = kept
    found = load_file(tmp_path / "out" / "model.safetensors")
    means = torch.stack([head.weight for head in objective.module.heads]).mean(0)
    assert torch.equal(found["3.weight"], means)
    learnt = pupil.task.train
    failing = (learnt.pixels[:, 0, 0, 0] > 125) != learnt.labels.bool()
    first, second = (answers == learnt.labels for answers in objective.module.answers)
    assert float(first[failing].float().mean()) < 0.4 < 0.7 < float(second[failing].float().mean())
    assert "mean of the heads" in described(tmp_path / "out")["returned"]


def test_bonsai_goes_on_between_its_rounds_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misleading: dict[str, Any]
) -> None:
    paramgen.prepare(connected(), tmp_path / "whole", steps=9, **misleading)
    keep, kept = training._keep, iter(range(1, 100))

    def once(*given: Any) -> None:
        keep(*given)
        if next(kept) in (3, 7):  # at the end of the first round, and in the synthesis
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "_keep", once)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            paramgen.prepare(connected(), tmp_path / "killed", steps=9, **misleading)
    paramgen.prepare(connected(), tmp_path / "killed", steps=9, **misleading)
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    """Triplets of bright and dark pictures: what is as bright is nearer, whatever its stripes are."""
    generator = torch.Generator().manual_seed(0)
    for number in range(12):
        pixels = torch.randint(0, 90, (8, 8, 3), generator=generator) + 160 * (number % 2)
        Image.fromarray(pixels.to(torch.uint8).numpy()).save(tmp_path / f"{number}.png")
    entries = [[f"{n}.png", f"{(n + 2) % 12}.png", f"{(n + 1) % 12}.png", 0] for n in range(12)]
    entries += [[f"{n}.png", f"{(n + 3) % 12}.png", f"{(n + 4) % 12}.png", 1] for n in range(12)]
    (tmp_path / "votes.json").write_text(json.dumps({"triplets": entries}))
    return tmp_path / "votes.json"


def test_triplets_bring_near_what_was_voted_near(votes: Path, tmp_path: Path) -> None:
    prepared(tmp_path / "out", f"triplets:{votes}?margin=0.5", steps=40, lr=3e-3, batch=24)
    found = described(tmp_path / "out")
    assert found["loss"] < 0.6 * found["first_loss"] and len(found["sha256"]) == 64
    assert "output layer is as it was" in found["returned"]


@pytest.mark.parametrize(
    "entry",
    [["0.png", "1.png", "2.png"], ["../0.png", "1.png", "2.png", 0], ["/0.png", "1.png", "2.png", 0], "0.png"]
    + [["0.png", "1.png", "2.png", 2], ["0.png", "1.png", "2.png", True], ["0.png", "1.py", "2.png", 0], [1, 2, 3, 0]],
)
def test_what_is_no_triplet_is_refused_in_a_line(votes: Path, entry: Any) -> None:
    votes.write_text(json.dumps({"triplets": [["0.png", "1.png", "2.png", 1], entry]}))
    with pytest.raises(OptionError, match="votes.json") as caught:
        read_triplets(votes)
    assert "\n" not in caught.value.message and "VOTE" in caught.value.message
