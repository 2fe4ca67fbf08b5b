"""Names and config files: whatever is typed builds a network, or is answered in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paramgen.architectures import resolve
from paramgen.errors import ArchitectureError, OptionError, ParamgenError, UnknownNameError
from paramgen.registry.aliases import ALIASES
from paramgen.registry.overrides import join_spec, parse_overrides, split_spec

BERT = {"model_type": "bert", "hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 50}


@pytest.fixture
def config(tmp_path: Path) -> Callable[[Any], str]:
    def write(content: Any) -> str:
        file = tmp_path / "config.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(file)

    return write


@pytest.mark.parametrize(
    ("spec", "overrides", "name", "shape"),
    [
        ("resnet18", {"num_labels": 7, "image_size": 64}, "fc.weight", (7, 512)),
        ("timm:resnet18", {"num_labels": 7, "in_chans": 1}, "fc.weight", (7, 512)),
        ("timm:vit_tiny_patch16_224", {"image_size": 64}, "pos_embed", (1, 17, 192)),
        ("vit_ti16", {"num_classes": 5, "num_hidden_layers": 1}, "classifier.weight", (5, 192)),
        ("gpt2", {"hidden_size": 48, "n_layer": 1, "vocab_size": 60}, "transformer.wte.weight", (60, 48)),
        ("gpt2?n_layer=1&n_embd=48&vocab_size=60", {"n_embd": 96}, "transformer.wte.weight", (60, 96)),
        (
            "transformers:clip?text_config.num_hidden_layers=1&vision_config.num_hidden_layers=1",
            {"text_config.hidden_size": 64},
            "text_projection.weight",
            (512, 64),
        ),
        ("diffusers:AutoencoderKL", {"image_size": 16, "latent_channels": 2}, "quant_conv.weight", (4, 4, 1, 1)),
    ],
)
def test_overrides_reach_every_source(spec: str, overrides: dict[str, Any], name: str, shape: tuple[int, ...]) -> None:
    architecture = resolve(spec, overrides)
    assert architecture.manifest[name].shape == shape
    assert all(slot.program is not None for slot in architecture.manifest.filled)
    again = resolve(architecture.spec)  # the spec alone says it all
    assert [slot.shape for slot in again.manifest.values()] == [s.shape for s in architecture.manifest.values()]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet18d", "Did you mean 'timm:resnet18d'"),
        ("resnet5O", "Did you mean 'resnet50'"),
        ("nope:x", "Known: diffusers, module, timm, torchvision, transformers"),
        ("timm:resnet1", "resnet18"),
        ("timm:", "names a source but no network"),
        ("timm", "names a source but no network"),
        ("timm:\0", "timm architecture"),
        ("", "Unknown architecture ''"),
        ("a" * 5000, "Unknown architecture"),
        ("gpt2?n_layer", "is no override"),
        ("transformers:bertt", "Did you mean 'bert'"),
        ("transformers:BertConfig", "is no model class"),
        ("transformers:pipeline", "is no model class"),
        ("diffusers:ModelMixin", "Unknown diffusers architecture"),
        ("torchvision:resnet", "Did you mean 'resnet50'"),
    ],
)
def test_unknown_names_offer_the_nearest(spec: str, message: str) -> None:
    with pytest.raises((UnknownNameError, OptionError, ArchitectureError), match=message) as caught:
        resolve(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "overrides", "message"),
    [
        ("resnet18", {"num_classes": "x"}, "num_classes x; allowed are"),
        ("resnet18", {"foo": 1}, "foo"),
        ("resnet18", {"image_size": "big"}, "image size"),
        ("resnet18", {"image_size": -3}, "image size"),
        ("resnet18", {"image_size": 10**9}, "image size"),
        ("resnet18", {"weights": "DEFAULT"}, "without pretrained weights"),
        ("torchvision:fcn_resnet50", {"weights_backbone": "DEFAULT"}, "without pretrained weights"),
        ("timm:resnet18", {"pretrained": True}, "without pretrained weights"),
        ("timm:resnet18", {"checkpoint_path": "x.pth"}, "without pretrained weights"),
        ("vit_b_16", {"image_size": 65}, "indivisible"),
        ("gpt2", {"hiden_size": 7}, "Did you mean 'hidden_size'"),
        ("gpt2", {"n_embd": "x"}, "expected int, got str"),
        ("gpt2", {"n_embd": 10**15}, "allowed are"),
        ("gpt2", {"n_layer.depth": 1}, "no nested config 'n_layer'"),
        ("transformers:clip", {"text_config.foo": 1}, "foo"),
        ("unet2d", {"foo": 16}, "foo"),
        ("diffusers:AutoencoderKL", {"sample_size": [1, 2, 3]}, "image size"),
    ],
)
def test_overrides_that_do_not_fit_are_one_line(spec: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamgenError, match=message) as caught:
        resolve(spec, overrides)
    assert "\n" not in str(caught.value)


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    assert resolve("torchvision:fasterrcnn_mobilenet_v3_large_fpn").manifest.parameters > 10**6


def test_configs_name_their_class_and_nothing_of_them_is_run(config: Callable[[Any], str]) -> None:
    hostile = {"auto_map": {"AutoModel": "evil.Evil"}, "trust_remote_code": True, "_name_or_path": "evil/evil"}
    spec = config({**BERT, **hostile, "architectures": ["BertModel"]})
    for given in (spec, str(Path(spec).parent)):
        manifest = resolve(given, {"num_labels": 3}).manifest
        assert manifest["embeddings.word_embeddings.weight"].shape == (50, 48)
        assert manifest["embeddings.word_embeddings.weight"].owner_type.startswith("torch.nn")


def test_diffusers_configs_of_other_versions_are_read(config: Callable[[Any], str]) -> None:
    spec = config({"_class_name": "AutoencoderKL", "_diffusers_version": "9.0", "latent_channels": 2, "later": 1})
    assert resolve(spec).manifest["quant_conv.weight"].shape == (4, 4, 1, 1)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        "[]",
        "{}",
        "{",
        " " * 1_000_001,
        {**BERT, "architectures": ["os.system"]},
        {**BERT, "architectures": "BertModel"},
        {**BERT, "architectures": {"a": 1}},
        {**BERT, "architectures": [1]},
        {**BERT, "architectures": ["GPT2LMHeadModel"]},
        {**BERT, "model_type": ["bert"]},
        {**BERT, "model_type": "nope"},
        {**BERT, "hidden_size": 10**12 + 4},
        {**BERT, "hidden_size": {"a": 1}},
        {"_class_name": ["x"]},
        {"_class_name": "os"},
        {"_class_name": "AutoencoderKL", "block_out_channels": "x"},
    ],
)
def test_hostile_configs_are_one_line(config: Callable[[Any], str], content: Any) -> None:
    with pytest.raises(ParamgenError) as caught:
        resolve(config(content))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_a_config_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="No such file"):
        resolve(str(tmp_path / "config.json"))


def test_specs_and_overrides_are_inverse() -> None:
    words = ["a=1", "b=2.5", "c=true", "d=[1, 2]", "e=text", "f=null", "g=False"]
    overrides = parse_overrides(words)
    assert overrides == {"a": 1, "b": 2.5, "c": True, "d": [1, 2], "e": "text", "f": None, "g": False}
    assert split_spec(join_spec("timm:x", overrides)) == ("timm:x", overrides)
    for word in ("a", "=1", " =1"):
        with pytest.raises(OptionError, match="is no override"):
            parse_overrides([word])


def test_aliases_are_full_specs() -> None:
    assert all(split_spec(spec)[0].partition(":")[2] for spec in ALIASES.values())
