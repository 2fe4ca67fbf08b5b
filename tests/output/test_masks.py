"""What a folder says of weights that are pruned or frozen, and what `paramgen.masked` makes of it in training."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import paramgen
from paramgen.errors import CheckError, OptionError

EXAMPLE = torch.zeros(2, 12)


class Tied(nn.Module):
    """Two layers share a weight, and attention reads its own without calling the layers that hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Linear(12, 12), nn.Linear(12, 12)
        self.again.weight = self.first.weight
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, rows: Tensor) -> Tensor:
        states = self.again(self.first(rows).relu())[:, None]
        return self.head(self.attention(states, states, states)[0][:, 0])


@pytest.fixture(params=["prune:magnitude?keep=0.2&scope=layer", "freeze?by=random&keep=0.2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    torch.manual_seed(0)
    paramgen.write(Tied(), tmp_path / "few", init="he", then=[request.param], example_input=EXAMPLE, progress=False)
    yield tmp_path / "few"


def record_of(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "paramgen.json").read_text(encoding="utf-8"))["masks"])


def test_the_record_the_card_and_the_file_agree(folder: Path) -> None:
    said, weights = record_of(folder), load_file(folder / "model.safetensors")
    with safe_open(folder / "masks.safetensors", framework="pt") as file:
        assert file.metadata()["kind"] == said["kind"]
        names = set(file.keys())
        bits = {name: int(sum(bin(byte).count("1") for byte in file.get_tensor(name).tolist())) for name in names}
    assert said["by_tensor"] == bits
    assert said["kept"] == sum(bits.values())
    assert said["of"] == sum(weights[name].numel() for name in names)
    if said["kind"] == "pruned":
        assert {name: int((weights[name] != 0).sum()) for name in names} == bits
    size = sum(-(-weights[name].numel() // 8) for name in names)
    assert (folder / "masks.safetensors").stat().st_size < size + 1000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{said['kept']:,} of {said['of']:,} weights are" in card
    assert "paramgen.masked(model, FOLDER)" in card
    paramgen.check(folder)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_constraint_holds_through_a_hundred_steps(folder: Path, compiled: bool) -> None:
    module = paramgen.load(folder, Tied())
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert paramgen.masked(module, folder) is module
    run = torch.compile(module, backend="eager") if compiled else module
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        rows, labels = torch.randn(8, 12, generator=generator), torch.randint(3, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(run(rows), labels).backward()
        optimizer.step()
    paramgen.unmasked(module)
    after, kept = module.state_dict(), record_of(folder)["by_tensor"]
    assert isinstance(kept, dict)
    assert after.keys() == before.keys()
    for name, count in kept.items():
        assert int((after[name] != before[name]).sum()) == count
    assert not torch.equal(after["head.bias"], before["head.bias"])
    assert "again.weight" not in dict(module.named_parameters())  # it is still the first one's


def test_what_does_not_fit_is_refused_and_nothing_is_changed(folder: Path, tmp_path: Path) -> None:
    module = paramgen.load(folder, Tied())
    names = list(module.state_dict())
    with pytest.raises(CheckError, match="There is no masks.safetensors in"):
        paramgen.masked(module, tmp_path)
    with pytest.raises(CheckError, match="does not fit the module at 'attention.in_proj_weight'"):
        paramgen.masked(nn.Linear(3, 3), folder)
    bits = load_file(folder / "masks.safetensors")
    for broken, said in (
        ({**bits, "head.weight": torch.zeros(1, dtype=torch.uint8)}, "it has .3, 12. there"),
        ({**bits, "head.weight": bits["head.weight"].float()}, "it has .3, 12. there"),
    ):
        save_file(broken, folder / "masks.safetensors", metadata={"kind": "pruned"})
        with pytest.raises(CheckError, match=said):
            paramgen.masked(module, folder)
    save_file(bits, folder / "masks.safetensors", metadata={"kind": "other"})
    with pytest.raises(CheckError, match="masks of the kind 'other'; known are pruned and frozen"):
        paramgen.masked(module, folder)
    (folder / "masks.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(CheckError, match="not a whole safetensors file"):
        paramgen.masked(module, folder)
    assert list(module.state_dict()) == names


def test_a_module_is_constrained_once(folder: Path) -> None:
    module = paramgen.masked(paramgen.load(folder, Tied()), folder)
    with pytest.raises(OptionError, match="constrained already"):
        paramgen.masked(module, folder)
    paramgen.masked(paramgen.unmasked(module), folder)


def test_folders_with_masks_are_overwritten_and_have_the_same_bytes(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    then = json.loads(before["paramgen.json"])["initializer"]["then"]
    torch.manual_seed(0)
    paramgen.write(Tied(), folder, init="he", then=then, example_input=EXAMPLE, overwrite=True, progress=False)
    for name in ("model.safetensors", "masks.safetensors"):
        assert (folder / name).read_bytes() == before[name]


def test_a_prediction_constrains_without_a_folder() -> None:
    module = Tied()
    spec = {"init": "he", "then": ["prune:magnitude?keep=0.1&scope=layer"], "example_input": EXAMPLE}
    prediction = paramgen.predict(module, **spec, progress=False)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="its tensors were not read yet"):
        paramgen.masked(module, prediction)
    module.load_state_dict(prediction.state_dict(progress=False))
    paramgen.masked(module, prediction)
    assert int((module.head.weight != 0).sum()) == round(0.1 * module.head.weight.numel())
    with pytest.raises(OptionError, match="prunes and freezes nothing"):
        paramgen.masked(Tied(), paramgen.predict(Tied(), init="he", example_input=EXAMPLE, progress=False))
