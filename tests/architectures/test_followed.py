"""A language model's config follows the tokenizer, in all but what was typed, and the folder says so."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import paramgen
from paramgen.architectures import Architecture, resolve
from paramgen.architectures.followed import PADDING, TokenizerVocabulary, changes

if TYPE_CHECKING:
    from conftest import Command

GPT2 = "transformers:gpt2?n_embd=16&n_layer=1&n_head=2&n_positions=16"
BERT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
CLIP = "transformers:clip?text_config.num_hidden_layers=1&vision_config.num_hidden_layers=1"
TOKENS = TokenizerVocabulary(name="it", rows=40, special={"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None})
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of seven words, of which one ends a text and one pads it, as transformers saves it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate("? a b c d <end> <pad>".split())}
    found: Any = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("words")
    maker: Any = PreTrainedTokenizerFast
    maker(tokenizer_object=found, unk_token="?", eos_token="<end>", pad_token="<pad>").save_pretrained(folder)
    return folder


def config_of(architecture: Architecture) -> dict[str, Any]:
    config = dict(architecture.layout.config)
    return {key: config[key] for key in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}


def test_sizes_and_special_tokens_are_those_of_the_tokenizer(words: Path, tmp_path: Path) -> None:
    written = paramgen.write(GPT2, tmp_path / "out", init="library", tokenizer=str(words))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    wanted = {"vocab_size": 7, "bos_token_id": None, "eos_token_id": 5, "pad_token_id": 6}
    assert {key: config[key] for key in wanted} == wanted
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (5, 6)
    assert written.prediction.architecture.manifest["transformer.wte.weight"].shape == (7, 16)
    (remark,) = written.to_json()["remarks"]
    assert f"follows the tokenizer {words}: vocab_size 7 (was 50,257), bos_token_id none (was 50,256)" in remark
    record = json.loads((tmp_path / "out" / "paramgen.json").read_text())
    assert record["remarks"] == [remark] and "vocab_size=7&bos_token_id=null&eos_token_id=5" in record["spec"]


def test_what_was_typed_stays(words: Path) -> None:
    typed = {"vocab_size": 9, "eos_token_id": 3}
    prediction = paramgen.predict(GPT2, init="library", tokenizer=str(words), overrides=typed)
    assert config_of(prediction.architecture) == {**typed, "bos_token_id": None, "pad_token_id": 6}
    assert "vocab_size" not in prediction.remarks[0] and "eos_token_id" not in prediction.remarks[0]
    within = paramgen.predict(f"{GPT2}&vocab_size=9", init="library", tokenizer=str(words)).architecture
    assert config_of(within)["vocab_size"] == 9
    assert paramgen.predict(GPT2, init="library").remarks == ()


def test_an_alias_has_typed_nothing() -> None:
    llama = resolve("llama-1b", {"num_hidden_layers": 1}, tokens=TOKENS)
    assert config_of(llama) == {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}


@pytest.mark.parametrize(("rows", "kept"), [(41, True), (40 + PADDING - 1, True), (40 + PADDING, False), (39, False)])
def test_a_config_file_may_have_padded_its_table(tmp_path: Path, rows: int, kept: bool) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**BERT, "vocab_size": rows, "pad_token_id": 0}))
    for spec in (str(tmp_path), str(tmp_path / "config.json")):
        config = config_of(resolve(spec, tokens=TOKENS))
        assert config["vocab_size"] == (rows if kept else 40)
        assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, None)
        assert config_of(resolve(spec, {"vocab_size": rows}, tokens=TOKENS))["vocab_size"] == rows


def test_a_nested_config_follows(words: Path) -> None:
    config = resolve(CLIP, tokens=TOKENS).layout.config["text_config"]
    assert (config["vocab_size"], config["bos_token_id"], config["pad_token_id"]) == (40, 1, None)
    for typed in ({"text_config.vocab_size": 50}, {"text_config": {"vocab_size": 50, "num_hidden_layers": 1}}):
        assert resolve(CLIP, typed, tokens=TOKENS).layout.config["text_config"]["vocab_size"] == 50


def test_a_config_that_needs_a_number_keeps_its_own() -> None:
    small = "num_hidden_layers=1&hidden_size=16&intermediate_size=16&num_attention_heads=2"
    architecture = resolve(f"transformers:modernbert-decoder?{small}&pad_token_id=39", tokens=TOKENS)
    assert config_of(architecture)["pad_token_id"] == 39
    config = resolve(f"transformers:nomic_bert?{small}", tokens=TOKENS)
    assert config_of(config)["vocab_size"] == 40 and "pad_token_id" not in config.notes[0]


def test_of_several_ends_one_is_enough() -> None:
    config = {"vocab_size": 40, "eos_token_id": [2, 8], "bos_token_id": 1}
    assert changes(config, TOKENS, typed=(), own_file=False) == {}
    config["eos_token_id"] = [8, 9]
    assert changes(config, TOKENS, typed=(), own_file=False) == {"eos_token_id": 2}


def test_other_networks_follow_nothing() -> None:
    assert resolve("transformers:vit?num_hidden_layers=1", tokens=TOKENS).notes == ()
    assert resolve("timm:resnet10t", tokens=TOKENS).notes == ()


def test_the_command_says_so(command: "Command", words: Path) -> None:
    done = command("predict", "--arch", GPT2, "--init", "library", "--tokenizer", words, "--out", "out")
    assert "note: the config follows the tokenizer" in done.out and "vocab_size 7" in done.out


def test_a_vocabulary_of_256_is_not_taken_for_bytes_in_silence(words: Path, tmp_path: Path) -> None:
    bytes_ = f"{GPT2}&vocab_size=256"
    written = paramgen.write(bytes_, tmp_path / "out", init="hypernet:text")
    (remark,) = written.to_json()["remarks"]
    assert "a vocabulary of 256 is taken for the 256 bytes" in remark and "--tokenizer" in remark
    assert json.loads((tmp_path / "out" / "paramgen.json").read_text())["remarks"] == [remark]
    assert paramgen.predict(bytes_, init="hypernet").remarks == (remark,)
    assert paramgen.predict(bytes_, init="library").remarks == ()
    told = paramgen.predict(bytes_, init="hypernet:text", tokenizer=str(words))
    assert not any("256 bytes" in remark for remark in told.remarks)
    assert paramgen.predict("timm:resnet10t", init="hypernet").remarks == ()
