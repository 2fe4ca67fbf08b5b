"""The Python door: lazy predictions, live modules, folders."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import paramgen
from paramgen.graphs.schema import Graph


class Net(nn.Module):
    """Every kind of slot: convolutions, group and batch norm, a recurrent layer, a bare parameter, a tie, a buffer."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, padding=1)
        self.group = nn.GroupNorm(2, 8)
        self.batch = nn.BatchNorm1d(8)
        self.recurrent = nn.GRU(8, 8, batch_first=True)
        self.scale = nn.Parameter(torch.full((8,), 0.5))
        self.mix = nn.Linear(8, 8)
        self.out = nn.Linear(8, 8)
        self.out.weight = self.mix.weight
        self.register_buffer("mask", torch.triu(torch.full((6, 6), -torch.inf), 1))

    def forward(self, signals: Tensor) -> Tensor:
        states = self.batch(self.group(self.conv(signals))).relu().transpose(1, 2)
        states, _ = self.recurrent(states)
        return self.out(self.mix(states * self.scale).relu())


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture
def init(hypernet_folder: Path) -> str:
    return f"hypernet:{hypernet_folder}"


def test_nothing_is_computed_before_it_is_asked_for(init: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from paramgen.initializers import library

    calls: list[str] = []
    start = library.default_weights

    def noted(slot: Any, seed: int) -> Tensor:
        calls.append(slot.name)
        return start(slot, seed)

    monkeypatch.setattr(library, "default_weights", noted)
    prediction = paramgen.predict(Net(), init="library")
    assert sum(prediction.by_rule.values()) == prediction.architecture.manifest.elements
    assert prediction.rules["scale"] == prediction.rules["mask"] == "kept"
    tensors = iter(prediction)
    assert not calls
    next(tensors)
    assert len(calls) == 1


def test_a_state_dict_loads_strictly_and_shares_ties(init: str) -> None:
    module = Net()
    state = paramgen.predict(module, init=init, seed=1).state_dict()
    half = paramgen.predict(module, init=init, seed=1, dtype="bfloat16").state_dict()
    module.load_state_dict(state, strict=True)
    assert state["out.weight"] is state["mix.weight"]
    assert list(state) == list(module.state_dict())
    assert not any(tensor.requires_grad for tensor in state.values())
    assert {tensor.dtype for tensor in half.values()} == {torch.bfloat16, torch.int64}
    assert torch.equal(half["conv.weight"], state["conv.weight"].bfloat16())


def test_seed_and_name_decide(init: str) -> None:
    with torch.device("meta"):
        module = Net()
    one, two, other = (paramgen.predict(module, init=init, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(one[name].equal(two[name]) for name in one)
    assert not one["conv.weight"].equal(other["conv.weight"])


def test_the_users_module_is_neither_changed_nor_run(init: str) -> None:
    module = Net()
    module.conv.register_forward_hook(lambda *_: pytest.fail("the user's module was run"))
    module.train()
    module.group.eval()
    before, random = copied(module), torch.random.get_rng_state()
    identities = {name: id(tensor) for name, tensor in module.named_parameters(remove_duplicate=False)}
    paramgen.predict(module, init=init).state_dict()
    assert isinstance(paramgen.trace(module), Graph)
    assert all(before[name].equal(tensor) for name, tensor in module.state_dict().items())
    assert identities == {name: id(tensor) for name, tensor in module.named_parameters(remove_duplicate=False)}
    assert torch.equal(torch.random.get_rng_state(), random)
    assert module.training and not module.group.training and module.batch.training
    assert len(module.conv._forward_hooks) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_initialize_fills_a_live_module_in_place(init: str, dtype: torch.dtype) -> None:
    module = Net().to(dtype)
    before = copied(module)
    held = dict(module.named_parameters())
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    rules = paramgen.initialize_(module, init=init, seed=2)
    assert rules["conv.weight"] == "hypernet" and rules["scale"] == "kept"
    assert all(parameter is held[name] and parameter.requires_grad for name, parameter in module.named_parameters())
    assert module.out.weight is module.mix.weight
    assert not module.conv.weight.equal(before["conv.weight"])
    assert module.scale.equal(before["scale"]) and module.mask.equal(before["mask"])
    assert {tensor.dtype for tensor in module.state_dict().values()} == {dtype, torch.int64}
    module.float()(torch.randn(2, 4, 6)).square().mean().backward()
    optimizer.step()


def test_initialize_agrees_with_predict(init: str) -> None:
    module = Net()
    state = paramgen.predict(module, init=init, seed=9).state_dict()
    paramgen.initialize_(module, init=init, seed=9)
    assert [name for name, tensor in module.state_dict().items() if not state[name].equal(tensor)] == []


def test_initialize_a_module_on_the_meta_device(init: str) -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 62 * 62, 5))
    rules = paramgen.initialize_(module, init=init)
    assert "kept" not in rules.values()
    assert all(bool(tensor.isfinite().all()) for tensor in module.state_dict().values())
    assert bool((module.state_dict()["1.running_var"] == 1).all())


@pytest.mark.parametrize("chosen", ["library", "auto"])
def test_the_default_of_a_live_module_is_what_it_holds(chosen: str) -> None:
    class Own(nn.Module):
        """What a constructor drew over what its layers had drawn: an embedding as of nanoGPT, a focal bias."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(50, 16), nn.Linear(16, 3)
            nn.init.normal_(self.embedding.weight, 0.0, 0.02)
            nn.init.constant_(self.head.bias, -4.6)
            self.view = nn.Parameter(torch.randn(4, 3).t())

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embedding(ids)) @ self.view

    module, ids = Own(), torch.zeros(2, 4, dtype=torch.long)
    before, versions = copied(module), [tensor._version for tensor in module.state_dict(keep_vars=True).values()]
    for seed in (0, 1):
        prediction = paramgen.predict(module, init=chosen, seed=seed, example_input=ids)
        assert set(prediction.rules.values()) == {"kept"}
        assert all(before[name].equal(tensor) for name, tensor in prediction.state_dict().items())
        assert set(paramgen.initialize_(module, init=chosen, seed=seed, example_input=ids).values()) == {"kept"}
    assert all(before[name].equal(tensor) for name, tensor in module.state_dict().items())
    assert versions == [tensor._version for tensor in module.state_dict(keep_vars=True).values()], "not even written to"


class Scaled(nn.Linear):
    """A layer with state that is no tensor, which it makes of values; as quantized layers have it."""

    largest: Tensor

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.register_buffer("largest", torch.full((), 3.0))

    def get_extra_state(self) -> object:
        return {"largest": self.largest.item()}

    def set_extra_state(self, state: object) -> None:
        raise AssertionError("nobody asked for it")


@pytest.mark.parametrize("chosen", ["library", "he", "lsuv"])
def test_extra_state_is_left_alone(chosen: str, tmp_path: Path) -> None:
    module = nn.Sequential(Scaled(), nn.ReLU(), Scaled())
    module[2].weight = module[0].weight
    assert "0._extra_state" in module.state_dict()
    rules = paramgen.initialize_(module, init=chosen)
    assert set(rules) == {"0.weight", "0.bias", "0.largest", "2.bias", "2.largest"}
    prediction = paramgen.write(module, tmp_path / "out", init=chosen).prediction
    other = nn.Sequential(Scaled(), nn.ReLU(), Scaled())
    other[2].weight = other[0].weight
    assert paramgen.load(tmp_path / "out", other) is other
    assert all(dict(other.named_parameters())[name].equal(t) for name, t in prediction if "largest" not in name)


def test_a_state_dict_has_the_extra_state_that_a_strict_load_asks_for() -> None:
    class Counted(Scaled):
        def set_extra_state(self, state: object) -> None:
            self.state = state

    module: Any
    module, other = nn.Sequential(Counted(), nn.ReLU()), nn.Sequential(Counted(), nn.ReLU())
    module[0].largest.fill_(7.0)
    other.load_state_dict(paramgen.predict(module, init="he").state_dict(), strict=True)
    assert other[0].state == {"largest": 7.0}
    assert "0._extra_state" not in paramgen.predict(nn.Sequential(Counted().to("meta")), init="he").state_dict()


def test_initialize_reaches_into_wrappers(init: str) -> None:
    inner = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    rules = paramgen.initialize_(nn.DataParallel(inner), init=init)
    assert set(rules) == {f"module.{name}" for name in inner.state_dict()}


def test_shared_modules_and_frozen_parameters(init: str) -> None:
    layer = nn.Linear(6, 6)
    module = nn.Sequential(layer, nn.ReLU(), layer)
    layer.bias.requires_grad_(False)
    paramgen.initialize_(module, init=init)
    assert module[0] is module[2] and not layer.bias.requires_grad
    with torch.no_grad():
        assert module(torch.ones(1, 6)).isfinite().all()


@pytest.mark.gpu
def test_initialize_on_an_accelerator(init: str) -> None:
    module = Net().cuda()
    state = paramgen.predict(module, init=init).state_dict()
    paramgen.initialize_(module, init=init)
    assert module.conv.weight.is_cuda and torch.equal(module.conv.weight.cpu(), state["conv.weight"])


def test_write_and_load_a_live_module(init: str, tmp_path: Path) -> None:
    module = Net()
    done: list[tuple[str, int, int]] = []
    written = paramgen.write(module, tmp_path / "out", init=init, progress=lambda *stage: done.append(stage))
    elements = written.prediction.architecture.manifest.elements
    assert done[0] == ("build", 0, 0) and done[-2:] == [("predict", elements, elements), ("check", 0, 0)]
    assert written.checked is not None and written.checked.loaded_by is None
    with pytest.raises(paramgen.ParamgenError, match=r"paramgen.load\(folder, module\)"):
        paramgen.load(tmp_path / "out")
    loaded = paramgen.load(tmp_path / "out", Net())
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert "out.weight" not in stored
    assert all(loaded.state_dict()[name].equal(tensor) for name, tensor in stored.items())
    assert bool(stored["mask"].isinf().any())
    with pytest.raises(paramgen.ParamgenError, match="not empty"):
        paramgen.write(module, tmp_path / "out", init=init)
    with pytest.raises(paramgen.ParamgenError, match="missing|unexpected"):
        paramgen.load(tmp_path / "out", nn.Linear(3, 3))


def test_load_rebuilds_a_factorys_module(init: str, own: Path, tmp_path: Path) -> None:
    paramgen.write(f"{own}:build", tmp_path / "out", init=init, overrides={"width": 5})
    loaded = paramgen.load(tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert all(loaded.state_dict()[name].equal(tensor) for name, tensor in stored.items())
    own.write_text(own.read_text() + "\n")
    with pytest.raises(paramgen.ParamgenError, match="has changed since"):
        paramgen.load(tmp_path / "out")
    with pytest.raises(paramgen.ParamgenError, match="no folder"):
        paramgen.load(tmp_path / "nowhere")


def test_options_that_make_no_sense(init: str) -> None:
    with pytest.raises(paramgen.ParamgenError, match="live module"):
        paramgen.predict(nn.Linear(2, 2), overrides={"width": 3}, init=init)
    with pytest.raises(paramgen.ParamgenError, match="example_input"):
        paramgen.predict(nn.ParameterList([torch.zeros(3)]), init=init, strict=True)
    with pytest.raises(paramgen.ParamgenError, match="no slots|nothing to fill|No example"):
        paramgen.predict(nn.ReLU(), init=init).state_dict()


def test_an_example_input_is_taken_as_it_comes(init: str) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(3, 5), nn.Linear(4, 5)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.left(left) + self.right(right)

    left, right = torch.zeros(2, 3), torch.zeros(2, 4)
    for given in ((left, right), {"left": left, "right": right}, ((left,), {"right": right})):
        prediction = paramgen.predict(Two(), init=init, example_input=given)
        assert prediction.by_rule == {"hypernet": 45}
