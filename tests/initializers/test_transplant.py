"""A trained model for another tokenizer: what both have is kept, the rest is spelled, and misfits are one line."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer, Tokenizer, decoders, models, pre_tokenizers, trainers

import paramgen
from paramgen.architectures.processors import read_tokenizer
from paramgen.language.spelling import Alphabet, spelling
from paramgen.prediction import prepare

if TYPE_CHECKING:
    from conftest import Command

TEXTS = ("the cat sat on the mat and the dog sat on the cat. " * 20, "weights that know where the cat is going. " * 20)
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 12, "bos_token_id": 0, "eos_token_id": 0}


def bytes_tokenizer(text: str, vocabulary: int, file: Path) -> Path:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([text], vocabulary, special_tokens=["<end>"], show_progress=False)
    file.parent.mkdir(exist_ok=True, parents=True)
    tokenizer.save(str(file))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "bos_token": "<end>"}
    (file.parent / "tokenizer_config.json").write_text(json.dumps(config))
    return file.parent


def pieces_tokenizer(text: str, vocabulary: int, file: Path) -> Path:
    """As Llama's: underlines for spaces, and bytes for what is in no token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    every = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=every, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    file.parent.mkdir(exist_ok=True, parents=True)
    tokenizer.save(str(file))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "eos_token": "</s>"}
    (file.parent / "tokenizer_config.json").write_text(json.dumps(config))
    return file.parent


def words_tokenizer(text: str, vocabulary: int, file: Path) -> Path:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, special_tokens=["[UNK]", "[SEP]"], show_progress=False, initial_alphabet=list("mw")
    )
    tokenizer.train_from_iterator([text], trainer)
    file.parent.mkdir(exist_ok=True, parents=True)
    tokenizer.save(str(file))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "sep_token": "[SEP]"}
    (file.parent / "tokenizer_config.json").write_text(json.dumps(config))
    return file.parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A trained GPT-2 with its tokenizer of 280 tokens, and another tokenizer of 300."""
    root = tmp_path_factory.mktemp("trained")
    old = bytes_tokenizer(TEXTS[0], 280, root / "old" / "tokenizer.json")
    new = bytes_tokenizer(TEXTS[1], 300, root / "new" / "tokenizer.json")
    state = dict(prepare("gpt2", init="library", overrides=GPT2 | {"vocab_size": 280}))
    save_file(state, old / "model.safetensors")
    config = prepare("gpt2", init="library", overrides=GPT2 | {"vocab_size": 280}).architecture.layout.config
    (old / "config.json").write_text(json.dumps(dict(config)))
    return old, new


def test_shared_tokens_keep_their_row_and_others_are_spelled(trained: tuple[Path, Path]) -> None:
    old, new = trained
    overrides = GPT2 | {"vocab_size": 310, "tie_word_embeddings": False}
    prediction = prepare("gpt2", init=f"transplant:{old}?tokenizer={new}", overrides=overrides)
    state, before = prediction.state_dict(), load_file(old / "model.safetensors")
    table = before["transformer.wte.weight"]
    had, has = (read_tokenizer(str(folder)).get_vocab() for folder in trained)
    both = sorted(set(had) & set(has))
    assert len(both) > 256
    for name in ("transformer.wte.weight", "lm_head.weight"):  # one tensor before, two now
        assert prediction.rules[name] == "spelled"
        assert all(torch.equal(state[name][has[token]], table[had[token]]) for token in both)
        assert torch.allclose(state[name][305], table.mean(0))  # a row without a token
    only = next(token for token in has if token not in had and token.startswith("\u0120w"))
    pieces = read_tokenizer(str(old)).backend_tokenizer.model.tokenize(only)
    assert len(pieces) > 1
    wanted = sum((len(piece.value) * table[piece.id] for piece in pieces), torch.zeros_like(table[0])) / len(only)
    assert torch.allclose(state["transformer.wte.weight"][has[only]], wanted, atol=1e-6)
    rest = [name for name in before if "wte" not in name]
    assert all(torch.equal(state[name], before[name]) for name in rest)
    assert all(prediction.rules[name] == "transplant" for name in rest)


def test_the_new_tokenizer_comes_with_the_weights(
    trained: tuple[Path, Path], tmp_path: Path, command: "Command"
) -> None:
    old, new = trained
    init = f"transplant:{old}?tokenizer={new}"
    done = command("predict", "--arch", old, "--set", "vocab_size=300", "--init", init, "--out", "start")
    assert done.status == 0, done
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer
    assert tokenizer.from_pretrained(tmp_path / "start").get_vocab() == read_tokenizer(str(new)).get_vocab()


@pytest.mark.parametrize("kind", [bytes_tokenizer, pieces_tokenizer, words_tokenizer])
@pytest.mark.parametrize("other", [bytes_tokenizer, pieces_tokenizer, words_tokenizer])
def test_tokenizers_of_other_kinds_understand_one_another(kind: Any, other: Any, tmp_path: Path) -> None:
    old = Alphabet(tokenizer=read_tokenizer(str(kind(TEXTS[0], 300, tmp_path / "a" / "tokenizer.json"))), name="a")
    new = Alphabet(tokenizer=read_tokenizer(str(other(TEXTS[0], 300, tmp_path / "b" / "tokenizer.json"))), name="b")
    rows, old_rows = len(new.vocabulary), len(old.vocabulary)
    spelled = spelling(new, old, rows, old_rows)
    by_text = {new.read(token): number for token, number in new.vocabulary.items()}
    for word in (b" the", b" cat", b" sat"):
        (number,) = spelled.parts[by_text[word]]
        assert old.read(list(old.vocabulary)[number]) == word
    assert sum(len(parts) == 1 for parts in spelled.parts) > 5
    table = spelled.table(torch.randn(old_rows, 4))
    assert table.shape == (rows, 4) and bool(table.isfinite().all())
    assert all(abs(sum(parts.values()) - 1) < 1e-6 for parts in spelled.parts if parts)


def test_what_does_not_fit_is_one_line(trained: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = trained
    count = len(read_tokenizer(str(new)))
    cases: list[tuple[str, dict[str, Any], str]] = [
        (f"transplant:{old}", GPT2, "transplant needs the new tokenizer"),
        ("transplant", GPT2, "needs the new tokenizer"),
        (f"transplant:{tmp_path}/none?tokenizer={new}", GPT2, "There is no folder"),
        (f"transplant:{old}?tokenizer={tmp_path}/none", GPT2, "No tokenizer"),
        (f"transplant:{old}?tokenizer={new}", GPT2 | {"vocab_size": count - 1}, f"has {count} tokens"),
        (f"transplant:{old}?tokenizer={new}", GPT2 | {"vocab_size": 300, "n_layer": 2}, "n_layer is 1 in"),
        (f"transplant:{new}?tokenizer={new}", GPT2 | {"vocab_size": 300}, "no safetensors file"),
    ]
    for init, overrides, said in cases:
        with pytest.raises(paramgen.ParamgenError) as caught:
            prediction = prepare("gpt2", init=init, overrides=overrides)
            assert prediction.rules
        assert said in str(caught.value) and "\n" not in str(caught.value), init
    with pytest.raises(paramgen.ParamgenError, match="stays in the family"):
        llama = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 300}
        assert prepare("transformers:llama", init=f"transplant:{old}?tokenizer={new}", overrides=llama).rules


def test_a_role_is_kept_whatever_its_name(tmp_path: Path) -> None:
    old = bytes_tokenizer(TEXTS[0], 280, tmp_path / "old" / "tokenizer.json")
    new = pieces_tokenizer(TEXTS[0], 300, tmp_path / "new" / "tokenizer.json")
    here, there = (Alphabet(tokenizer=read_tokenizer(str(folder)), name="") for folder in (old, new))
    parts = spelling(there, here, 300, 280).parts
    assert parts[there.tokenizer.eos_token_id] == {here.tokenizer.eos_token_id: 1.0}
