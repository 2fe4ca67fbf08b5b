"""Variance one, layer by layer, on the networks of the libraries."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures.materialize import materialize
from paramgen.initializers import initializer_of
from paramgen.prediction import Prediction, prepare

LLAMA = {
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
}


def variances(prediction: Prediction, inputs: Any) -> dict[str, float]:
    """Variance of what every linear and convolutional module makes of its input, without the bias."""
    module = materialize(prediction.architecture, dict(prediction))
    found: dict[str, float] = {}

    def note(name: str, layer: nn.Module) -> None:
        def hook(layer: Any, given: Any, output: Tensor) -> None:
            shape = (-1, *(1,) * (output.dim() - 2)) if isinstance(layer, nn.Conv2d) else (-1,)
            bias = torch.zeros(()) if layer.bias is None else layer.bias.view(shape)
            found.setdefault(name, float((output - bias).var()))

        layer.register_forward_hook(hook)

    for name, layer in module.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            note(f"{name}.weight", layer)
    with torch.no_grad():
        module(*inputs[0], **inputs[1])
    return found


@pytest.mark.parametrize(
    ("arch", "overrides"),
    [
        ("timm:test_resnet", {}),
        ("timm:test_efficientnet", {}),
        ("timm:test_vit", {}),
        pytest.param("torchvision:shufflenet_v2_x0_5", {}, marks=pytest.mark.slow),
        ("transformers:llama", LLAMA),
    ],
)
def test_every_layer_of_a_real_network_has_variance_one(arch: str, overrides: dict[str, int]) -> None:
    prediction = prepare(arch, init="lsuv?batch=4", overrides=overrides, seed=5)
    initializer: Any = prediction.initializer
    inputs = initializer._inputs(prediction.architecture, prediction.graph, 5)
    found = variances(prediction, inputs)
    covered = [name for name in found if prediction.rules[name] == "lsuv"]
    assert len(covered) > 5
    assert {name: found[name] for name in covered} == pytest.approx(dict.fromkeys(covered, 1.0), abs=1e-3)


def test_fused_attention_of_torch_is_seen_into() -> None:
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
    prediction = paramgen.predict(module, init="lsuv", example_input=torch.zeros(2, 6, 16))
    state = prediction.state_dict()
    first = state["layers.0.self_attn.in_proj_weight"]
    assert prediction.rules["layers.1.self_attn.in_proj_weight"] == "lsuv"
    states = prediction.initializer._inputs(prediction.architecture, prediction.graph, 0)[0][0]  # type: ignore[attr-defined]
    assert float((states @ first.T).var()) == pytest.approx(1, abs=1e-3)


def test_images_of_a_folder_decide(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    for index in range(3):
        values = np.random.default_rng(index).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        (tmp_path / "class").mkdir(exist_ok=True)
        pillow.fromarray(values).save(tmp_path / "class" / f"{index}.png")
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 4))
    images = torch.zeros(2, 3, 16, 16)
    noise = paramgen.predict(module, init="lsuv", example_input=images).state_dict()
    seen = paramgen.predict(module, init=f"lsuv:{tmp_path}", example_input=images)
    state = seen.state_dict()
    assert seen.initializer.describe()["images"] == str(tmp_path)
    assert not torch.allclose(state["0.weight"], noise["0.weight"])
    ratio = state["0.weight"] / noise["0.weight"]
    assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-3)  # the same directions, another scale
    (tmp_path / "class" / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(paramgen.ParamgenError, match="broken.jpg is no image that can be read"):
        dict(paramgen.predict(module, init=f"lsuv:{tmp_path}?batch=4", example_input=images))
    with pytest.raises(paramgen.ParamgenError, match="takes no images"):
        dict(paramgen.predict(nn.Linear(4, 2), init=f"lsuv:{tmp_path}", example_input=torch.zeros(2, 4)))


def test_a_network_that_does_not_run_is_one_line() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, states: Tensor) -> Tensor:
            states = self.layer(states)
            if type(states) is Tensor and not states.is_meta and torch.is_tensor(states) and states.numel() == 32:
                raise RuntimeError("not today")
            return states

    with pytest.raises(paramgen.ParamgenError, match="does not run on the CPU: RuntimeError: not today"):
        dict(paramgen.predict(Fails(), init="lsuv", example_input=torch.zeros(2, 4)))


def test_nothing_global_is_touched() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2))
    enabled, state = torch.backends.mha.get_fastpath_enabled(), torch.random.get_rng_state()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    dict(paramgen.predict(module, init="lsuv", example_input=torch.zeros(2, 4)))
    assert torch.backends.mha.get_fastpath_enabled() is enabled and torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("base", ["statistics", "he?mode=fan_out", "hypernet"])
def test_whatever_initializer_it_is_given_has_variance_one_too_and_keeps_its_directions(base: str) -> None:
    arch, sizes = "timm:test_vit", {"img_size": 32, "patch_size": 8}
    calibrated = prepare(arch, init=f"lsuv?base={json.dumps(base)}", overrides=sizes, seed=1)
    plain = prepare(arch, init=base, overrides=sizes, seed=1)
    state, before = calibrated.state_dict(), plain.state_dict()
    scaled = [name for name, rule in calibrated.rules.items() if rule == "lsuv"]
    assert len(scaled) > 4
    for name, rule in calibrated.rules.items():
        if rule == "lsuv":
            cosine = torch.cosine_similarity(state[name].flatten(), before[name].flatten(), dim=0)
            assert float(cosine) == pytest.approx(1.0, abs=1e-4), name
        else:
            assert rule == plain.rules[name] and torch.equal(state[name], before[name])
    assert not torch.equal(state[scaled[0]], before[scaled[0]])


def test_the_record_says_what_was_calibrated() -> None:
    described = initializer_of("lsuv?base=statistics").describe()
    assert described["of"] == {"init": "statistics", **initializer_of("statistics").describe()}
    assert initializer_of("lsuv").describe() == {}
    assert initializer_of("lsuv?base=statistics").provenance()["from"] == "paramgen/statistics"


def test_what_hinders_the_base_hinders_its_calibration() -> None:
    plain = paramgen.predict("timm:test_vit", init="library", progress=False)
    described = plain.architecture, plain.graph
    why = initializer_of("natural").hindrance(*described)
    assert why
    assert initializer_of("lsuv?base=natural").hindrance(*described) == why
    assert initializer_of("lsuv").hindrance(*described) is None
