"""What a network inherits from a trained one of other sizes or another library, and what is refused."""

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import paramgen
from paramgen.architectures import resolve
from paramgen.architectures.materialize import materialize
from paramgen.errors import OptionError
from paramgen.initializers import initializer_of
from paramgen.initializers.inheritance.resizing import resized_kernel
from paramgen.prediction import describe, prepare
from paramgen.storage.reading import Stored

VIT = "timm:vit_tiny_patch16_224"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "depth": 2, "num_classes": 5}
RESNET = "timm:resnet18"
NARROW = {"channels": [8, 16, 16, 32], "stem_width": 8, "num_classes": 5}


def trained(folder: Path, arch: str, overrides: dict[str, Any]) -> nn.Module:
    """Write a model none of whose tensors is as it was drawn, and return it."""
    architecture = resolve(arch, overrides)
    generator = torch.Generator().manual_seed(1)
    state: dict[str, Tensor] = {}
    for slot in architecture.manifest.filled:
        if not slot.dtype.is_floating_point:
            state[slot.name] = torch.zeros(slot.shape, dtype=slot.dtype)
            continue
        fan = slot.elements / max(1, slot.shape[0]) if len(slot.shape) > 1 else 4.0
        values = torch.randn(slot.shape, generator=generator) * fan**-0.5
        positive = slot.name.endswith("running_var") or "norm" in slot.owner_type.lower() and "bias" not in slot.name
        state[slot.name] = values.abs() + 0.5 if positive else values
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(architecture.layout.config)))
    return filled(arch, overrides, state)


def filled(arch: str, overrides: dict[str, Any], state: dict[str, Tensor]) -> nn.Module:
    """Return the network with these values."""
    architecture = resolve(arch, overrides)
    return materialize(architecture, state).eval()


def inherit_into(arch: str, overrides: dict[str, Any], init: str) -> tuple[nn.Module, Any]:
    prediction = prepare(arch, init=init, overrides=overrides, seed=3)
    return materialize(prediction.architecture, prediction.state_dict()).eval(), prediction


def assert_same(before: nn.Module, after: nn.Module, side: int = 32) -> None:
    """The function is kept: logits agree, and are no constants."""
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        had, has = (getattr(out, "logits", out) for out in (before(images), after(images)))
    assert had.std() > 0.01
    torch.testing.assert_close(has, had, atol=1e-4 * float(had.abs().max()), rtol=1e-4)


@pytest.mark.slow
@settings(max_examples=5, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.too_slow])
@given(times=st.integers(1, 3), heads=st.sampled_from([2, 4, 6]), hidden=st.integers(1, 3))
def test_a_vision_transformer_grows_exactly(
    times: int, heads: int, hidden: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "vit"
    before = trained(folder, VIT, SMALL)
    heads = heads if (24 * times) % heads == 0 and heads % 2 == 0 else 2
    whole = heads <= 2 * times and (2 * times) % heads == 0  # heads and their widths grow in whole multiples
    large = SMALL | {"embed_dim": 24 * times, "num_heads": heads if whole else 2, "mlp_ratio": 4 * hidden}
    after, prediction = inherit_into(VIT, large, f"inherit:{folder}")
    assert_same(before, after)
    assert any("computes what the donor does" in remark for remark in prediction.remarks)


@pytest.mark.slow
@settings(max_examples=4, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.too_slow])
@given(times=st.integers(1, 3), stem=st.integers(1, 2))
def test_a_resnet_grows_exactly(times: int, stem: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "resnet"
    before = trained(folder, RESNET, NARROW)
    large = NARROW | {"channels": [times * width for width in (8, 16, 16, 32)], "stem_width": 8 * stem}
    after, prediction = inherit_into(RESNET, large, f"inherit:{folder}")
    assert_same(before, after)
    assert any("computes what the donor does" in remark for remark in prediction.remarks)


@pytest.mark.slow
@settings(max_examples=4, phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.too_slow])
@given(times=st.lists(st.integers(1, 3), min_size=4, max_size=4), kernel=st.sampled_from([7, 9, 11]))
def test_a_convnext_grows_exactly(times: list[int], kernel: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "convnext"
    small = {"dims": [8, 8, 16, 16], "depths": [1, 1, 2, 1], "num_classes": 5}
    before = trained(folder, "timm:convnext_atto", small)
    dims = [width * by for width, by in zip((8, 8, 16, 16), times, strict=True)]
    large = small | {"dims": dims, "kernel_sizes": kernel}
    after, prediction = inherit_into("timm:convnext_atto", large, f"inherit:{folder}")
    assert_same(before, after, 64)
    assert any("computes what the donor does" in remark for remark in prediction.remarks)


@pytest.mark.slow
def test_across_libraries_the_function_is_kept(tmp_path: Path) -> None:
    before = trained(tmp_path / "donor", VIT, SMALL)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
    there = sizes | {"image_size": 32, "patch_size": 8, "num_labels": 5, "layer_norm_eps": 1e-6}
    after, prediction = inherit_into("transformers:vit", there, f"inherit:{tmp_path / 'donor'}")
    assert set(prediction.by_rule) == {"inherit:exact"}
    assert_same(before, after)
    wide = there | {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 192}
    assert_same(before, inherit_into("transformers:vit", wide, f"inherit:{tmp_path / 'donor'}")[0])


def test_other_widths_and_depths_take_everything(tmp_path: Path) -> None:
    trained(tmp_path / "donor", VIT, SMALL | {"depth": 5})
    other = {"img_size": 48, "patch_size": 12, "embed_dim": 30, "num_heads": 3, "depth": 3, "num_classes": 5}
    prediction = prepare(VIT, init=f"inherit:{tmp_path / 'donor'}", overrides=other)
    assert "library" not in prediction.by_rule
    donor, mine = load_file(tmp_path / "donor" / "model.safetensors"), prediction.state_dict()
    index = torch.arange(30) * 24 // 30
    assert torch.equal(mine["blocks.2.norm1.weight"], donor["blocks.4.norm1.weight"][index])
    assert torch.equal(mine["blocks.1.norm1.weight"], donor["blocks.2.norm1.weight"][index])
    assert prediction.rules["patch_embed.proj.weight"] == "inherit:grow+resize"


def test_repeated_blocks_add_as_much_together_as_the_one_did(tmp_path: Path) -> None:
    trained(tmp_path / "donor", VIT, SMALL)
    prediction = prepare(VIT, init=f"inherit:{tmp_path / 'donor'}", overrides=SMALL | {"depth": 4})
    donor, mine = load_file(tmp_path / "donor" / "model.safetensors"), prediction.state_dict()
    assert torch.equal(mine["blocks.0.mlp.fc2.weight"], donor["blocks.0.mlp.fc2.weight"] / 2)
    assert torch.equal(mine["blocks.1.mlp.fc1.weight"], donor["blocks.0.mlp.fc1.weight"])
    assert torch.equal(mine["blocks.3.attn.proj.bias"], donor["blocks.1.attn.proj.bias"] / 2)
    assert prediction.rules["blocks.3.mlp.fc2.weight"] == "inherit:repeat"


def test_keys_and_values_of_fewer_heads_are_means(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 24}
    sizes |= {"head_dim": 4, "vocab_size": 20}
    trained(tmp_path / "donor", "transformers:llama", sizes | {"num_key_value_heads": 4})
    init, grouped = f"inherit:{tmp_path / 'donor'}", sizes | {"num_key_value_heads": 2}
    prediction = prepare("transformers:llama", init=init, overrides=grouped)
    key, query = (f"model.layers.0.self_attn.{name}_proj.weight" for name in "kq")
    donor, mine = load_file(tmp_path / "donor" / "model.safetensors"), prediction.state_dict()
    torch.testing.assert_close(mine[key], donor[key].view(2, 2, 4, 16).mean(1).reshape(8, 16))
    assert torch.equal(mine[query], donor[query])
    assert prediction.rules[key] == "inherit:pool"


def test_a_larger_language_model_grows_as_grow_does(tmp_path: Path) -> None:
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 20, "n_positions": 12}
    trained(tmp_path / "donor", "gpt2", sizes)
    states = [
        prepare("gpt2", init=f"{init}:{tmp_path / 'donor'}", overrides=sizes | {"n_embd": 32, "n_layer": 2}, seed=1)
        for init in ("inherit", "grow")
    ]
    mine, theirs = (prediction.state_dict() for prediction in states)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert states[0].rules == states[1].rules
    smaller = prepare("gpt2", init=f"inherit:{tmp_path / 'donor'}", overrides=sizes | {"n_embd": 8, "n_head": 1})
    assert "library" not in smaller.by_rule
    assert "inherit:select" in smaller.by_rule


def test_classes_are_taken_by_name_or_by_number(tmp_path: Path) -> None:
    trained(tmp_path / "donor", "transformers:vit", TINY)
    config = json.loads((tmp_path / "donor" / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "cat", "1": "dog", "2": "owl"}, {"cat": 0, "dog": 1, "owl": 2}
    (tmp_path / "donor" / "config.json").write_text(json.dumps(config))
    donor = load_file(tmp_path / "donor" / "model.safetensors")
    named = {"id2label": {"0": "owl", "1": "cow"}, "label2id": {"owl": 0, "cow": 1}}
    overrides = {key: value for key, value in TINY.items() if key != "num_labels"} | named
    prediction = prepare("transformers:vit", init=f"inherit:{tmp_path / 'donor'}", overrides=overrides)
    head = prediction.state_dict()["classifier.weight"]
    assert torch.equal(head[0], donor["classifier.weight"][2])
    assert prediction.shares["classifier.weight"] == {"inherit:select": 16, "library": 16}
    assert any("1 of 2 classes" in remark for remark in prediction.remarks)
    other = prepare("transformers:vit", init=f"inherit:{tmp_path / 'donor'}", overrides=TINY | {"num_labels": 7})
    assert other.rules["classifier.weight"] == "library"
    assert any("3 classes, this network 7" in remark for remark in other.remarks)
    without = prepare("transformers:vit", init=f"inherit:{tmp_path / 'donor'}?head=false", overrides=TINY)
    assert without.rules["classifier.weight"] == without.rules["classifier.bias"] == "library"


TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 16,
    "patch_size": 8,
    "num_labels": 3,
}


def test_a_folder_is_written_checked_and_recorded(tmp_path: Path) -> None:
    trained(tmp_path / "donor", VIT, SMALL)
    wide = SMALL | {"embed_dim": 48, "num_heads": 4}
    written = paramgen.write(VIT, tmp_path / "out", init=f"inherit:{tmp_path / 'donor'}", overrides=wide)
    assert written.checked is not None
    record = json.loads((tmp_path / "out" / "paramgen.json").read_text())
    assert record["initializer"]["donor"] == str(tmp_path / "donor")
    assert len(record["initializer"]["sha256"]) == 64
    assert record["initializer"]["donor_arch"].startswith("timm:vit_tiny_patch16_224")
    assert record["tensors"]["blocks.0.mlp.fc1.weight"]["rule"] == "inherit:grow"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "inherit:grow" in card
    assert "computes what the donor does" in card
    again = prepare(VIT, init=f"inherit:{tmp_path / 'donor'}", overrides=wide).state_dict()
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in stored.items())


def test_a_file_takes_its_network_from_the_request(tmp_path: Path) -> None:
    paramgen.write("torchvision:resnet18?num_classes=5", tmp_path / "tv", init="library", verify=False)
    init = f"inherit:{tmp_path / 'tv' / 'model.safetensors'}?arch=torchvision:resnet18?num_classes=5"
    prediction = prepare("timm:resnet18", init=init, overrides={"num_classes": 5})
    rest = {name for name, rule in prediction.rules.items() if rule != "inherit:exact"}
    assert all(name.endswith("num_batches_tracked") for name in rest)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("timm:resnet18", "vision transformer .* fits .*residual CNN.* Give a donor that is a residual CNN"),
        ("gpt2?n_layer=1&n_embd=16&n_head=2", "Give a donor that is a text transformer"),
    ],
)
def test_another_family_is_refused(arch: str, message: str, tmp_path: Path) -> None:
    trained(tmp_path / "donor", VIT, SMALL)
    with pytest.raises(OptionError, match=message):
        prepare(arch, init=f"inherit:{tmp_path / 'donor'}")


FC1 = "blocks.1.mlp.fc1.weight"
BAD_TENSORS = {
    "nan": (torch.full((96, 24), float("nan")), f"not finite in '{FC1}'"),
    "missing": (None, f"has no tensor '{FC1}'"),
    "integers": (torch.zeros(96, 24, dtype=torch.int8), "as int8"),
    "shape": (torch.zeros(95, 24), r"of shape \(95, 24\)"),
    "overflow": (torch.full((96, 24), 1e300, dtype=torch.float64), "float32 cannot hold"),
}
BAD_CONFIGS = {
    "none": (None, r"there is no config.json beside its weights.*\?arch="),
    "huge": ({"model_args": {"embed_dim": 10**9}}, "cannot be a donor"),
    "code": ({"auto_map": {"AutoModel": "theirs.Model"}}, "brings Python code of its own"),
    "another": ({"architecture": "nothing"}, "timm architecture"),
    "a list": ({"architecture": ["nothing"]}, "of no known library"),
    "a kernel": ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "checkpoint_path"),
}


def refused(tmp_path: Path, message: str) -> None:
    """The donor is refused in one line, and nothing is written."""
    with pytest.raises(paramgen.ParamgenError, match=message) as caught:
        paramgen.write(VIT, tmp_path / "out", init=f"inherit:{tmp_path / 'donor'}", overrides=SMALL, verify=False)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["donor"]


@pytest.mark.parametrize("fault", BAD_TENSORS)
def test_a_donor_with_a_bad_tensor_is_refused(fault: str, tmp_path: Path) -> None:
    trained(tmp_path / "donor", VIT, SMALL)
    file, (tensor, message) = tmp_path / "donor" / "model.safetensors", BAD_TENSORS[fault]
    state = {name: value for name, value in load_file(file).items() if name != FC1}
    save_file(state if tensor is None else state | {FC1: tensor}, file)
    refused(tmp_path, message)


@pytest.mark.parametrize("fault", BAD_CONFIGS)
def test_a_donor_with_a_bad_config_is_refused(fault: str, tmp_path: Path) -> None:
    trained(tmp_path / "donor", VIT, SMALL)
    file, (change, message) = tmp_path / "donor" / "config.json", BAD_CONFIGS[fault]
    if change is None:
        file.unlink()
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    refused(tmp_path, message)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    trained(tmp_path / "donor", VIT, SMALL)
    (tmp_path / "donor" / "model.safetensors").rename(tmp_path / "donor" / "pytorch_model.bin")
    refused(tmp_path, "is no donor.*no safetensors")


def test_one_tensor_of_the_donor_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path / "donor", VIT, SMALL)
    prediction = prepare(VIT, init=f"inherit:{tmp_path / 'donor'}", overrides=SMALL | {"embed_dim": 48})
    alive: list[weakref.ref[Tensor]] = []
    read = Stored.tensor

    def counted(stored: Stored) -> Tensor:
        tensor = read(stored)
        alive[:] = [ref for ref in alive if ref() is not None] + [weakref.ref(tensor)]
        assert len(alive) <= 2
        return tensor

    monkeypatch.setattr(Stored, "tensor", counted)
    for _ in prediction:
        pass
    assert alive


def test_positions_and_patches_follow_the_image() -> None:
    """A patch embedding answers an enlarged patch as it answered the small one."""
    kernel = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    larger = resized_kernel(kernel, (12, 12), "patch")
    patch = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    enlarged = torch.nn.functional.interpolate(patch, size=(12, 12), mode="bilinear", antialias=True)
    answers = (torch.einsum("oihw,bihw->bo", *pair) for pair in ((kernel, patch), (larger, enlarged)))
    torch.testing.assert_close(*answers, atol=1e-4, rtol=1e-4)
    flat = torch.ones(5, 5)
    smaller = resized_kernel(flat[None, None] * 0.5, (3, 3), "resize")
    assert float(smaller.sum()) == pytest.approx(12.5, abs=1e-4)


def test_one_initializer_fills_a_network_that_grows_and_one_that_shrinks(tmp_path: Path) -> None:
    """A comparison asks one initializer about several networks; what suits one of them decides nothing of the next."""
    arch = "transformers:GPT2LMHeadModel"
    sizes = {"n_head": 2, "vocab_size": 40, "n_positions": 16, "bos_token_id": 0, "eos_token_id": 0}
    trained(tmp_path / "donor", arch, {**sizes, "n_embd": 16, "n_layer": 2})
    initializer = initializer_of(f"inherit:{tmp_path / 'donor'}")
    rules = []
    for width, depth in ((32, 3), (8, 1), (32, 3)):
        architecture, graph = describe(arch, overrides={**sizes, "n_embd": width, "n_layer": depth})
        rules.append(set(initializer.rules(architecture, graph).values()))
    assert "grow" in rules[0] and rules[2] == rules[0]
    assert "grow" not in rules[1] and "inherit:select" in rules[1]
