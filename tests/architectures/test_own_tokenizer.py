"""A named language model brings its own tokenizer where an initializer needs it, of one commit."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

import paramgen
from paramgen.errors import ParamgenError
from paramgen.language.tokenizers import train_tokenizer
from paramgen.prediction import prepare
from paramgen.registry import aliases
from tests.support.hub.connected import connected
from tests.support.hub.server import Hub

SIZES = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
WORDS = "the owl and the pussycat went to sea\n" * 9


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with a small language model and its tokenizer, which `gpt2` is taken to read."""
    with connected(tmp_path, monkeypatch, xet=False) as hub:
        train_tokenizer([WORDS], 270).save_pretrained(tmp_path / "words")
        (tmp_path / "text.txt").write_text(WORDS)
        files = {path.name: path.read_bytes() for path in (tmp_path / "words").iterdir()}
        special = {"bos_token_id": 0, "eos_token_id": 0}
        config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 270, **SIZES, **special}
        code = {"tokenization.py": b"raise SystemExit", "model.safetensors": b"nothing"}
        hub.store.fill("me/model", {**files, **code, "config.json": json.dumps(config).encode()})
        hub.store.fill("me/picture", {"config.json": b'{"model_type": "vit", "hidden_size": 32}'})
        monkeypatch.setitem(aliases.TOKENIZERS, "gpt2", f"me/model@{commit(hub)}")
        hub.asked.clear()
        yield hub


def commit(hub: Hub) -> str:
    return str(hub.store["me/model"].refs["main"])


@pytest.mark.parametrize("arch", ["gpt2", "me/model"])
def test_the_tokenizer_comes_with_the_name(hub: Hub, arch: str, tmp_path: Path) -> None:
    overrides = SIZES if arch == "gpt2" else {}
    written = paramgen.write(arch, tmp_path / "out", init=f"unigram:{tmp_path}/text.txt", overrides=overrides)
    record = json.loads((tmp_path / "out" / "paramgen.json").read_text())
    assert record["initializer"]["tokenizer"] == f"me/model@{commit(hub)}"
    assert ["--tokenizer", f"me/model@{commit(hub)}"] in record["requested"]["companion_files"]
    assert (tmp_path / "out" / "tokenizer.json").is_file() and written
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == 270
    assert not list(Path(constants.HF_HUB_CACHE).glob("**/*.py"))
    assert not list(Path(constants.HF_HUB_CACHE).glob("**/model.safetensors"))


def test_it_is_taken_from_the_cache_without_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init = f"unigram:{tmp_path}/text.txt"
    first = prepare("gpt2", init=init, overrides=SIZES)
    hub.store.fill("me/model", {"tokenizer.json": b"{}"})  # another commit
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    again = prepare("gpt2", init=init, overrides=SIZES)
    assert again.requested.tokenizer == first.requested.tokenizer and again.requested.tokenizer is not None
    assert not hub.asked


@pytest.mark.parametrize("init", ["auto", "library", "scaled"])
def test_what_needs_none_asks_nobody(hub: Hub, init: str) -> None:
    assert prepare("gpt2", init=init, overrides=SIZES).requested.tokenizer is None
    assert not hub.asked


def test_none_says_no_and_another_vocabulary_is_another_tokenizer(hub: Hub, tmp_path: Path) -> None:
    init = f"unigram:{tmp_path}/text.txt"
    with pytest.raises(ParamgenError, match="which of its .* tokens is which is not known"):
        prepare("gpt2", init=init, overrides=SIZES, tokenizer="none")
    prediction = prepare("gpt2", init=init, overrides=SIZES | {"vocab_size": 256})
    assert prediction.requested.tokenizer is None and not hub.asked


def test_a_network_failure_is_one_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(aliases.TOKENIZERS, "gpt2", "me/absent@v1")
    with pytest.raises(ParamgenError, match="the tokenizer of me/absent is left out: .*no repository of that") as found:
        prepare("gpt2", init=f"unigram:{tmp_path}/text.txt", overrides=SIZES)
    assert "\n" not in str(found.value)
    assert prepare("gpt2", init="auto", overrides=SIZES).resolved_init == "library"
    next_step = prepare("gpt2", init="auto", overrides=SIZES | {"vocab_size": 300}).next_step
    assert "me/absent" not in next_step


def test_a_network_for_pictures_has_none(hub: Hub) -> None:
    prediction = prepare("me/picture", init="scaled")
    assert prediction.requested.tokenizer is None
    assert not any("tokenizer" in note for note in prepare("me/picture", init="hypernet").remarks)
    assert not any("tokenizer" in request for request in map(str, hub.asked))
