"""What no network has is refused in one line before a library builds anything of it; what networks have passes."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from paramgen.architectures import recorder, resolve
from paramgen.architectures.config_limits import MAX_LAYERS, refuse_config
from paramgen.errors import OptionError
from paramgen.registry.aliases import ALIASES
from paramgen.registry.overrides import split_spec


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail as soon as a library's constructor is called."""

    def built(*_: Any, **__: Any) -> None:
        raise AssertionError("a library was asked to build it")

    for source in ("transformers", "timm", "torchvision", "diffusers"):
        monkeypatch.setattr(f"paramgen.architectures.{source}.record", built)
    monkeypatch.setattr(recorder, "_watched", built)


@pytest.mark.parametrize(
    ("arch", "overrides"),
    [
        ("gpt2", {"n_layer": 10**8}),
        ("gpt2", {"n_layer": 10**400}),
        ("gpt2", {"n_layer": -1}),
        ("gpt2", {"n_layer": 2.5}),
        ("gpt2", {"n_embd": -768}),
        ("gpt2", {"n_embd": 10**8}),
        ("gpt2", {"vocab_size": 0}),
        ("gpt2?n_layer=100000000", {}),
        ("bert-base", {"num_labels": -3}),
        ("bert-base", {"num_labels": 10**9}),
        ("vit_b16", {"num_labels": 0}),
        ("vit_b16", {"num_classes": "three"}),
        ("vit_b16", {"num_classes": True}),
        ("clip-vit-b32", {"text_config.num_hidden_layers": 10**8}),
        ("clip-vit-b32", {"vision_config": {"num_hidden_layers": 10**8}}),
        ("llama-1b", {"num_key_value_heads": 0}),
        ("transformers:swin", {"depths": [1, 10**8]}),
        ("transformers:swin", {"depths": [2] * (MAX_LAYERS // 2 + 1)}),
        ("transformers:mixtral", {"num_local_experts": 10**7}),
        ("transformers:mixtral", {"num_local_experts": 10_000, "num_hidden_layers": 2000}),
        ("timm:resnet18", {"num_labels": -3}),
        ("timm:resnet18", {"layers": [1, 10**7, 1, 1]}),
        ("timm:vit_tiny_patch16_224", {"depth": 10**8}),
        ("resnet18", {"num_classes": -1}),
        ("unet2d", {"layers_per_block": 10**8}),
        ("unet2d", {"block_out_channels": [-4, 4]}),
    ],
)
def test_what_no_network_has_is_refused_before_a_library_builds(
    unbuilt: None, arch: str, overrides: dict[str, Any]
) -> None:
    with pytest.raises(OptionError) as refused:
        resolve(arch, overrides)
    message = str(refused.value)
    assert "allowed are" in message and "overrides" in message and "\n" not in message
    key = next(iter(overrides), "n_layer").rpartition(".")[2]
    assert (
        key in message
        or "num_labels" in message
        or "num_classes" in message
        or "weights" in message
        or ("num_hidden_layers" in message or "experts" in message)
    )


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gpt2", "n_layer": 10**8},
        {"model_type": "bert", "num_labels": -3},
        {"model_type": "clip", "text_config": {"num_hidden_layers": 10**8}},
        {"_class_name": "UNet2DModel", "layers_per_block": 10**8},
    ],
    ids=lambda config: next(iter(config.values())),
)
def test_a_config_file_passes_the_same_gate(unbuilt: None, tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(OptionError, match="allowed are whole numbers"):
        resolve(str(tmp_path))
    with pytest.raises(OptionError, match="allowed are whole numbers"):
        resolve(str(tmp_path / "config.json"))


def test_timms_way_to_ask_for_no_head_is_allowed() -> None:
    assert "fc.weight" not in resolve("timm:resnet18", {"num_classes": 0}).manifest


def test_the_message_says_what_to_type() -> None:
    with pytest.raises(OptionError) as refused:
        refuse_config({"text_config.n_layer": 10**8}, "transformers:gpt2")
    assert str(refused.value) == (
        "transformers:gpt2 has text_config.n_layer 100000000; allowed are whole numbers from 0 to 2,000. "
        "Pass: overrides={'text_config.n_layer': 2000}, or less"
    )
    with pytest.raises(OptionError, match=r"Pass: overrides=\{'num_labels': 1\}, or more"):
        refuse_config({"num_labels": -3}, "timm:resnet18")


@pytest.mark.parametrize(
    "values",
    [
        {"num_labels": 1},
        {"num_labels": 21_841, "hidden_size": 16_384, "num_hidden_layers": 126, "intermediate_size": 53_248},
        {"num_hidden_layers": 61, "n_routed_experts": 384, "hidden_size": 7168, "moe_intermediate_size": 2048},
        {"max_position_embeddings": 10_485_760, "vocab_size": 256_000, "sliding_window": -1, "pad_token_id": -1},
        {"n_inner": None, "type_vocab_size": 0, "max_relative_positions": -1, "layer_types": ["full_attention"] * 3},
        {"drop_path_rate": 0, "initializer_range": 0.02, "features_only": True, "norm_layer": "layernorm"},
        {"depths": json.loads("[" * 900 + "]" * 900)},
        {},
    ],
)
def test_what_networks_have_passes(values: dict[str, Any]) -> None:
    refuse_config(values, "it")


def test_every_alias_passes() -> None:
    for alias, spec in ALIASES.items():
        refuse_config(split_spec(spec)[1], alias)


@pytest.mark.slow
def test_every_default_of_the_libraries_passes() -> None:
    import diffusers
    from transformers.models.auto import CONFIG_MAPPING

    from paramgen.architectures.diffusers import DiffusersSource

    for name in DiffusersSource().names():
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(getattr(diffusers, name)).parameters
        refuse_config({key: each.default for key, each in parameters.items() if each.default is not each.empty}, name)
    for name in CONFIG_MAPPING:
        try:
            config = CONFIG_MAPPING[name]()
        except Exception:  # some have no default that their own checks pass
            continue
        refuse_config(config.to_dict(), name)
