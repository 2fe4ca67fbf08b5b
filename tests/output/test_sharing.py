"""What a folder says of weights that share numbers, and what `paramgen.shared` makes of it in training."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import paramgen
from paramgen.errors import CheckError, OptionError

EXAMPLE = torch.zeros(2, 3, 8, 8)
LAYOUTS: dict[str, Any] = {"seed": 0, "chunk": 1}


class Mixed(nn.Module):
    """A convolution, attention that reads its weight without calling a layer, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12)
        self.first, self.again = nn.Linear(12, 12), nn.Linear(12, 12)
        self.again.weight = self.first.weight
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        states = self.norm(self.stem(images)).mean((2, 3))
        states = self.again(self.first(states).relu())[:, None]
        return self.head(self.attention(states, states, states)[0][:, 0])


WEIGHTS = 12 * 3 * 9 + 144 + 4 * 144 + 36


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path / "few")
    return tmp_path / "few"


def written(folder: Path, then: str = "share?keep=0.05", **options: Any) -> None:
    torch.manual_seed(0)
    paramgen.write(Mixed(), folder, init="he", then=[then], example_input=EXAMPLE, progress=False, **options)


def steps(module: Any, count: int) -> list[float]:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.5)
    generator, losses = torch.Generator().manual_seed(0), []
    for _ in range(count):
        images, labels = torch.randn(8, 3, 8, 8, generator=generator), torch.randint(3, (8,), generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_the_file_holds_the_numbers_and_nothing_for_each_weight(folder: Path) -> None:
    said = json.loads((folder / "paramgen.json").read_text(encoding="utf-8"))["shared"]
    assert (said["numbers"], said["of"]) == (round(0.05 * WEIGHTS), WEIGHTS)
    sizes = {name: each.numel() for name, each in load_file(folder / "shared.safetensors").items()}
    assert sizes == {"memory": said["numbers"], "scales": said["tensors"]}
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{WEIGHTS:,} weights share {said['numbers']} numbers" in card and "paramgen.shared(model, FOLDER)" in card
    paramgen.check(folder)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_memory_makes_the_weights_of_the_folder_in_every_dtype(dtype: str, tmp_path: Path) -> None:
    written(tmp_path / "few", dtype=dtype)
    module: Any = paramgen.load(tmp_path / "few", Mixed().to(getattr(torch, dtype)))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    returned = paramgen.shared(module, tmp_path / "few")
    assert id(returned) == id(module)
    assert module.head.weight.dtype == before["head.weight"].dtype == getattr(torch, dtype)
    after = paramgen.unmasked(module).state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated", "ignore:The .grad attribute")  # torch's compiler
@pytest.mark.parametrize("compiled", [False, True])
def test_training_from_a_folder_is_that_from_the_prediction(compiled: bool, folder: Path) -> None:
    one = paramgen.shared(paramgen.load(folder, Mixed()), folder)
    torch.manual_seed(0)
    other = Mixed()
    prediction = paramgen.predict(other, init="he", then=["share?keep=0.05"], example_input=EXAMPLE, progress=False)
    with pytest.raises(OptionError, match="The prediction shares no weights: .* or its tensors were not read yet"):
        paramgen.shared(other, prediction)
    other.load_state_dict(prediction.state_dict())
    paramgen.shared(other, prediction)
    run = torch.compile(one, backend="eager") if compiled else one
    assert steps(run, 20) == pytest.approx(steps(other, 20), rel=1e-4)
    after = paramgen.unmasked(one).state_dict()
    assert len({round(float(value), 7) for value in after["first.weight"].abs().flatten()}) <= round(0.05 * WEIGHTS)
    assert "again.weight" not in dict(one.named_parameters())


def test_the_same_request_gives_the_same_bytes(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    written(folder, overwrite=True)
    for name in ("model.safetensors", "shared.safetensors"):
        assert (folder / name).read_bytes() == before[name]


def test_what_does_not_fit_is_refused_and_nothing_is_changed(folder: Path, tmp_path: Path) -> None:
    module: Any = paramgen.load(folder, Mixed())
    names = list(module.state_dict())
    for wrong, given, said in (
        (CheckError, (module, tmp_path), "There is no shared.safetensors in"),
        (CheckError, (module, str(tmp_path)), "There is no shared.safetensors in"),
        (OptionError, (nn.Linear(3, 3), folder), "is no parameter of this module"),
        (OptionError, (Mixed(), folder), "does not have the values that are shared. Load the initial weights first"),
    ):
        with pytest.raises(wrong, match=said):
            paramgen.shared(*given)
    with pytest.raises(CheckError, match="There is no masks.safetensors"):
        paramgen.masked(module, folder)
    module.head.weight.requires_grad_(False)
    with pytest.raises(OptionError, match="'head.weight' is frozen"):
        paramgen.shared(module, folder)
    module.head.weight.requires_grad_(True)
    assert list(module.state_dict()) == names
    paramgen.shared(module, folder)
    with pytest.raises(OptionError, match="constrained already. Call paramgen.unmasked"):
        paramgen.shared(module, folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"memory": torch.ones(3, dtype=torch.float64)}, "does not hold a memory"),
        ({"more": torch.ones(3)}, "does not hold a memory"),
        ({"memory": torch.full((54,), torch.nan)}, "not finite"),
        ({"scales": torch.ones(2, dtype=torch.float64)}, "the sizes of 2"),
        ({"memory": torch.ones(WEIGHTS + 1)}, "none of its layouts"),
        ({"memory": torch.ones(0)}, "none of its layouts"),
        ({"layout": "no JSON"}, "does not say which weights share"),
        ({"layout": "[" * 100_000}, "does not say which weights share"),
        ({"layout": json.dumps(LAYOUTS | {"shapes": {}})}, "does not say which weights share"),
        ({"layout": json.dumps(LAYOUTS | {"shapes": [[3]]})}, "does not say which weights share"),
        ({"layout": json.dumps(LAYOUTS | {"shapes": {"head.weight": [3, -12]}})}, "something else than whole numbers"),
        ({"layout": json.dumps(LAYOUTS | {"shapes": {"head.weight": "ab"}})}, "something else than whole numbers"),
        ({"layout": json.dumps(LAYOUTS | {"chunk": 0, "shapes": {"head.weight": [2**40]}})}, "none of its layouts"),
        ({"layout": json.dumps(LAYOUTS | {"shapes": {"head.weight": [2**62, 2**62]}})}, "none of its layouts"),
    ],
)
def test_a_file_that_anybody_may_have_written_is_refused_in_one_line(
    change: dict[str, Any], said: str, folder: Path
) -> None:
    file, module = folder / "shared.safetensors", paramgen.load(folder, Mixed())
    with safe_open(file, framework="pt") as opened:
        layout = opened.metadata()["layout"]
    tensors = {name: each for name, each in {**load_file(file), **change}.items() if name != "layout"}
    save_file(tensors, file, metadata={"layout": change.get("layout", layout)})
    with pytest.raises(CheckError, match=said) as refused:
        paramgen.shared(module, folder)
    assert "\n" not in str(refused.value)
