"""A repository of the Hub as an architecture: its config.json at one commit, and nothing of its code."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

import paramgen
from paramgen.architectures import resolve
from paramgen.architectures.followed import TokenizerVocabulary
from paramgen.errors import ArchitectureError, OptionError, ParamgenError
from tests.support.hub.connected import connected
from tests.support.hub.server import Hub

GPT2 = {"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 60, "n_positions": 16}
GPT2 |= {"bos_token_id": 0, "eos_token_id": 0}
UNET = {"_class_name": "UNet2DModel", "sample_size": 8, "layers_per_block": 1, "block_out_channels": [32, 32]}
UNET |= {"norm_num_groups": 8, "down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
TIMM = {"architecture": "test_vit", "num_classes": 7, "pretrained_cfg": {"input_size": [3, 160, 160]}}
CODE = {"model.py": b"raise SystemExit"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.chdir(tmp_path)
    with connected(tmp_path, monkeypatch, xet=False) as hub:
        yield hub


def fill(hub: Hub, config: object) -> str:
    """Make the repository `me/model` and return the commit of its main branch."""
    return hub.store.fill("me/model", {"config.json": json.dumps(config).encode(), **CODE}).refs["main"]


@pytest.mark.parametrize(
    ("config", "source", "name", "shape"),
    [
        (GPT2, "transformers", "transformer.wte.weight", (60, 8)),
        (UNET, "diffusers", "conv_in.weight", (32, 3, 3, 3)),
        (TIMM, "timm", "head.weight", (7, 64)),
    ],
)
def test_each_librarys_config_is_built(
    hub: Hub, config: dict[str, object], source: str, name: str, shape: tuple[int, ...]
) -> None:
    commit = fill(hub, config)
    architecture = resolve("me/model")
    assert architecture.layout.source == source and architecture.spec == f"me/model@{commit}"
    assert architecture.manifest[name].shape == shape
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.py"))


def test_its_config_follows_a_tokenizer(hub: Hub) -> None:
    tokens = TokenizerVocabulary(
        name="it", rows=2000, special={"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
    )
    commit = fill(hub, GPT2)
    followed = resolve("me/model", tokens=tokens)
    assert followed.manifest["transformer.wte.weight"].shape == (2000, 8) and "vocab_size 2,000" in followed.notes[0]
    assert followed.spec.startswith(f"me/model@{commit}?vocab_size=2000&")
    assert resolve("me/model", {"vocab_size": 70}, tokens=tokens).manifest["transformer.wte.weight"].shape == (70, 8)


def test_the_commit_is_recorded_pinned_and_kept_for_later(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fill(hub, GPT2)
    paramgen.write("me/model", "out", init="library", overrides={"n_layer": 2})
    record = json.loads(Path("out/paramgen.json").read_text())
    assert record["spec"] == f"me/model@{first}?n_layer=2" and record["requested"]["arch"] == f"me/model@{first}"
    assert f"--arch me/model@{first} --set n_layer=2" in Path("out/README.md").read_text()
    later = fill(hub, {**GPT2, "n_embd": 16})
    assert resolve("me/model").spec == f"me/model@{later}"
    assert resolve(f"me/model@{first}").manifest["transformer.wte.weight"].shape == (60, 8)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve("me/model").spec == f"me/model@{later}"
    assert resolve(f"me/model@{first}").spec == f"me/model@{first}"
    with pytest.raises(ArchitectureError, match="not in the cache, and HF_HUB_OFFLINE forbids"):
        resolve("me/other")


KERNEL = "someone/flash-attn"
REFUSED = [
    ({**GPT2, "auto_map": {"AutoModel": "model.Model"}}, "brings Python code of its own, which is never run"),
    ({**UNET, "_class_name": ["model", "Model"]}, "brings Python code of its own"),
    ({**GPT2, "attn_implementation": KERNEL}, f"{KERNEL}', which would be fetched and run"),
    ({**GPT2, "sub": [{"_experts_implementation": {"": KERNEL}}]}, "Allowed: eager, batched_mm, grouped_mm"),
    ({"hidden": 3}, "is of no known library"),
    ({**GPT2, "model_type": "gtp2"}, "'gpt2'"),
    ({**TIMM, "model_args": {"checkpoint_path": "/etc/passwd"}}, "'checkpoint_path', which fetches or reads more"),
    ([], "holds no JSON object"),
]


@pytest.mark.parametrize(("config", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_built_without_its_code_is_one_line(hub: Hub, config: object, said: str) -> None:
    fill(hub, config)
    with pytest.raises(ParamgenError) as caught:
        resolve("me/model")
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "kind", "said"),
    [
        ("me/none", ArchitectureError, "the Hub has no repository of that name"),
        ("me/model@", OptionError, "empty revision. Pass: arch='me/model@revision'"),
        ("me/model@v9", ArchitectureError, "no such revision"),
        ("me/bare", ArchitectureError, "no config.json at its top"),
        ("me/here", ParamgenError, "Unknown architecture 'me/here'"),  # a folder here, of which nobody is asked
    ],
)
def test_what_is_not_there_is_one_line(hub: Hub, spec: str, kind: type[ParamgenError], said: str) -> None:
    fill(hub, GPT2)
    hub.store.fill("me/bare", CODE)
    Path("me/here").mkdir(parents=True)
    with pytest.raises(kind) as caught:
        resolve(spec)
    assert said in str(caught.value) and "\n" not in str(caught.value)
