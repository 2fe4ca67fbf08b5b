"""A user's own networks: files and live modules, neither of which is ever changed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paramgen import initialize_
from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import resolve
from paramgen.architectures.memory import meta_copy, own_copy
from paramgen.architectures.module import from_module
from paramgen.errors import ArchitectureError, ParamgenError, UnknownNameError
from paramgen.graphs.tracing.trace import trace
from paramgen.slots.init_program import kept, slot_generator

FILE = """
import dataclasses
import torch
from torch import nn

@dataclasses.dataclass
class Config:
    width: int = 4

def build(width=4):
    return nn.Linear(Config(width).width, 2)

def number():
    return 3

def failing():
    raise KeyError('a\\nb')

def reads():
    return nn.Linear(int(torch.rand(1).item()) + 1, 2)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.py"
    file.write_text(FILE, encoding="utf-8")
    return file


def test_a_factory_takes_overrides(own: Path) -> None:
    architecture = resolve(f"{own}:build", {"width": 6})
    assert architecture.manifest["weight"].shape == (2, 6)
    assert architecture.example is not None and architecture.example[0][0].shape == (2, 6)


@pytest.mark.parametrize(
    ("name", "overrides", "kind", "message"),
    [
        ("build", {"w": 6}, UnknownNameError, "Known: width"),
        ("build", {"width": "wide"}, ArchitectureError, "Cannot build own.py:build: TypeError"),
        ("number", {}, ArchitectureError, "returns int, not an nn.Module"),
        ("failing", {}, ArchitectureError, "KeyError"),
        ("reads", {}, ArchitectureError, "reads values of tensors"),
        ("missing", {}, ArchitectureError, "It defines: Config, build, number"),
        ("torch", {}, ArchitectureError, "has no factory 'torch'"),
        ("", {}, ArchitectureError, "Pass: arch="),
    ],
)
def test_what_a_factory_does_wrong_is_one_line(
    own: Path, name: str, overrides: dict[str, object], kind: type[ParamgenError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        resolve(f"{own}:{name}" if name else str(own), overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There is no file"),
        ("import nothing_of_this_name", "does not import: ModuleNotFoundError"),
        ("def build(:", "does not import: SyntaxError"),
        ("raise SystemExit(3)", "does not import: SystemExit: 3"),
        ("raise RuntimeError('a\\nb')", "does not import: RuntimeError: a b"),
    ],
)
def test_what_a_file_does_wrong_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "own.py"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ArchitectureError, match=message) as caught:
        resolve(f"{file}:build")
    assert "\n" not in str(caught.value)


class Live(nn.Module):
    """A tie, a norm, a parameter of its own, and plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.again = self.first
        self.norm = nn.BatchNorm1d(4)
        self.scale = nn.Parameter(torch.full((4,), 0.5))
        self.shift = torch.arange(4.0)  # a plain attribute, on the CPU
        self.calls = 0
        self.eval()
        self.norm.train()

    def forward(self, states: Tensor) -> Tensor:
        self.calls += 1
        return self.norm(self.again(self.first(states))) * self.scale + self.shift


def test_a_live_module_is_left_as_it_is() -> None:
    module = Live()
    seen: list[Tensor] = []
    module.first.register_forward_hook(lambda owner, args, output: seen.append(output))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    modes = [child.training for child in module.modules()]
    identities = [id(tensor) for tensor in module.state_dict(keep_vars=True).values()]
    state = torch.get_rng_state()
    architecture = from_module(module)
    assert architecture.module is not None and architecture.example is not None
    graph = trace(architecture.module, architecture.manifest, architecture.example)
    assert [node.name for node in graph.nodes if node.op == "linear"] == ["first.weight", "first.weight"]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert identities == [id(tensor) for tensor in module.state_dict(keep_vars=True).values()]
    assert modes == [child.training for child in module.modules()]
    assert module.calls == 0 and seen == [] and len(module.first._forward_hooks) == 1


def test_a_live_module_keeps_what_it_holds() -> None:
    module = Live()
    manifest = from_module(module).manifest
    assert manifest["again.weight"].tied_to == "first.weight"
    for slot in manifest.filled:
        assert slot.program is not None and slot.program.kept, slot.name
        assert torch.equal(slot.program(slot_generator(0, slot.name)), module.state_dict()[slot.name])


def test_a_value_is_read_when_it_is_asked_for() -> None:
    module = Live()
    program = from_module(module).manifest["scale"].program
    nn.init.constant_(module.scale, 3.0)
    assert program is not None and program(slot_generator(0, "scale")).tolist() == [3.0] * 4


def test_what_looks_meant_is_no_random_draw() -> None:
    meant = {
        "zero": torch.zeros(4, 4), "focal": torch.full((3,), -4.6), "identity": torch.eye(5), "one": torch.rand(1),
        "gates": torch.tensor([0.0, 1, 0, 0]), "none": torch.empty(0), "late": torch.zeros(9000),
    }  # fmt: skip
    drawn = {
        "matrix": torch.randn(3, 3),
        "two": torch.randn(2),
        "rare": torch.zeros(9000),
        "half": torch.rand(9).half(),
    }
    drawn["rare"][8000:8002] = torch.tensor([1.0, 2.0])
    meant["late"][8000] = 1
    assert [name for name, value in meant.items() if kept(value).random] == []
    assert [name for name, value in drawn.items() if not kept(value).random] == []


def test_half_precision_and_modules_partly_on_meta() -> None:
    layer: Any = nn.Sequential(nn.Linear(4, 4).bfloat16(), nn.Linear(4, 4, device="meta"))
    manifest = from_module(layer).manifest
    assert manifest["0.weight"].dtype == torch.bfloat16
    held, drawn = manifest["0.weight"].program, manifest["1.weight"].program
    assert held is not None and held(slot_generator(0, "0.weight")).equal(layer[0].weight)
    assert drawn is not None and drawn.random and not drawn.kept


def test_resets_that_fail_or_need_arguments_leave_a_module_on_meta_without_a_draw() -> None:
    class Asking(nn.Linear):
        def reset_parameters(self, gain: float | None = None) -> None:
            if gain is None and hasattr(self, "done"):
                raise TypeError("gain is needed")
            super().reset_parameters()

    layer: Any = Asking(3, 3, device="meta")
    assert from_module(layer).manifest["weight"].program is not None
    layer.done = True
    assert from_module(layer).manifest["weight"].program is None


class Computed(nn.Module):
    """Holds what its pre-hook makes of parameters, as `torch.nn.utils.weight_norm` does, and a copy of an output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer: Any = nn.Linear(4, 4)
        del self.layer._parameters["weight"]
        self.layer.weight_v = nn.Parameter(torch.randn(4, 4))
        self.layer.register_forward_pre_hook(Computed.make)
        Computed.make(self.layer, ())
        self.seen = self.layer(torch.zeros(1, 4))

    @staticmethod
    def make(layer: Any, _inputs: Any) -> None:
        layer.weight = layer.weight_v / layer.weight_v.norm()

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.layer(rows)
        return out


def test_what_was_computed_from_parameters_is_no_obstacle() -> None:
    module, rows = Computed(), torch.randn(2, 4)
    twin: Any = own_copy(module)
    assert torch.equal(twin(rows), module(rows)) and twin.layer.weight_v is not module.layer.weight_v
    rules = initialize_(module, init="he", example_input=rows)
    assert set(rules) == {"layer.weight_v", "layer.bias"}
    module(rows).sum().backward()
    assert module.layer.weight_v.grad is not None


def test_modules_that_cannot_be_copied_are_one_line() -> None:
    layer: Any = nn.Linear(2, 2)
    layer.rows = (row for row in "rows")
    with pytest.raises(ArchitectureError, match="cannot be copied to the meta device") as caught:
        meta_copy(layer)
    assert "\n" not in str(caught.value)


def test_a_live_transformers_model_is_kept_and_drawn_on_meta() -> None:
    ensure_torchvision()
    from transformers import GPT2Config, GPT2LMHeadModel

    tokens: dict[str, Any] = {"vocab_size": 60, "bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(n_layer=1, n_embd=8, n_head=2, n_positions=16, **tokens)
    model = GPT2LMHeadModel(config)
    nn.init.constant_(model.transformer.wte.weight, 7.0)
    program = from_module(model).manifest["transformer.wte.weight"].program
    assert program is not None and program.kept and bool((program(slot_generator(0, "")) == 7.0).all())
    with torch.device("meta"):
        empty = from_module(GPT2LMHeadModel(config)).manifest
    assert not [slot.name for slot in empty.filled if slot.program is None or slot.program.kept]
    program = empty["transformer.wte.weight"].program
    assert program is not None and float(program(slot_generator(0, "")).std()) == pytest.approx(0.02, rel=0.2)


BUFFERS = {
    "BertModel": {},
    "RobertaModel": {},
    "DistilBertModel": {"dim": 8, "hidden_dim": 16, "n_heads": 2, "n_layers": 1},
    "LlamaForCausalLM": {"num_key_value_heads": 2},
    "Qwen2ForCausalLM": {"num_key_value_heads": 2},
}


def small(name: str) -> nn.Module:
    ensure_torchvision()
    import transformers

    library: Any = transformers
    sizes = {
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 40,
        "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1,
    }  # fmt: skip
    if name == "CLIPModel":
        towers = {key: {**sizes, "image_size": 8, "patch_size": 4} for key in ("text_config", "vision_config")}
        return library.CLIPModel(library.CLIPConfig(**towers, projection_dim=8))
    own = BUFFERS[name]
    if "dim" in own:
        sizes = {"vocab_size": 40, "max_position_embeddings": 16}
    model = getattr(library, name)
    made: nn.Module = model(model.config_class(**{**sizes, **own}))
    return made


@pytest.mark.parametrize("name", (*BUFFERS, "CLIPModel"))
def test_live_models_with_buffers_that_no_state_dict_has(name: str) -> None:
    module = small(name)
    unsaved = {key for key, _ in module.named_buffers()} - module.state_dict().keys()
    manifest = from_module(module).manifest
    assert unsaved and unsaved == manifest.unsaved.keys()
    assert manifest.keys() == module.state_dict().keys()


def test_a_live_vision_transformer_of_timm_is_given_images_of_the_size_that_it_was_made_for() -> None:
    timm = pytest.importorskip("timm")
    sizes: dict[str, Any] = {"embed_dim": 32, "depth": 1, "num_heads": 2, "patch_size": 8}
    architecture = from_module(timm.create_model("vit_tiny_patch16_224", img_size=64, **sizes))
    assert architecture.example is not None and architecture.example[0][0].shape == (2, 3, 64, 64)
    assert architecture.pixel_std == 0.5
    assert from_module(nn.Conv2d(3, 4, 3)).pixel_std is None
