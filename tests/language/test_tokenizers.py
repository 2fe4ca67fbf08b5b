"""A tokenizer of the user's text: it writes every text, is the same again, and bad texts are one line."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from paramgen.architectures.processors import read_tokenizer
from paramgen.comparison.data.text import TextSet, tokenized
from paramgen.errors import OptionError
from paramgen.language.tokenizers import train_tokenizer

if TYPE_CHECKING:
    from conftest import Command

TEXT = "the owl and the pussycat went to sea in a beautiful pea-green boat\n" * 40


def test_every_text_comes_back_and_known_words_are_short() -> None:
    tokenizer, again = (train_tokenizer([TEXT], 300) for _ in range(2))
    assert 257 < len(tokenizer) <= 300 and tokenizer.get_vocab() == again.get_vocab()
    for text in ("the owl", " \t caf\u00e9 \U0001f989\n", "\x00\x7f"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer(" the pussycat")["input_ids"]) <= 4
    assert tokenizer.eos_token_id == 0


def test_the_command_writes_a_folder_that_predict_takes(tmp_path: Path, command: "Command") -> None:
    (tmp_path / "notes.txt").write_text(TEXT, encoding="utf-8")
    done = command("tokenizer", "notes.txt", "--vocabulary", 290, "--out", "words", "--json")
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert told["vocabulary"] == len(read_tokenizer(str(tmp_path / "words"))) <= 290
    assert told["bytes"] == len(TEXT) and told["tokens"] < told["bytes"] / 2
    sizes = ("vocab_size=290", "n_embd=8", "n_layer=1", "n_head=2", "n_positions=16")
    words = [word for size in sizes for word in ("--set", size)]
    done = command("predict", "--arch", "gpt2", *words, "--tokenizer", "words", "--out", "start")
    assert done.status == 0 and (tmp_path / "start" / "tokenizer.json").is_file()
    assert "exists" in command("tokenizer", "notes.txt", "--out", "words").refusal


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no text"),
        (b" \n\n", "has no text"),
        (b"\x7fELF\x00\x01", "is no text: byte 4 is zero"),
        ("K\u00e4se".encode("latin-1"), "is not UTF-8 text: byte 1 is 0xe4"),
        (None, "There is no file or folder"),
    ],
)
def test_bad_texts_leave_nothing_behind(content: bytes | None, said: str, tmp_path: Path, command: "Command") -> None:
    if content is not None:
        (tmp_path / "notes.txt").write_bytes(content)
    assert said in command("tokenizer", "notes.txt", "--out", "words").refusal
    assert not (tmp_path / "words").exists()


def test_a_vocabulary_has_a_place_for_every_byte() -> None:
    with pytest.raises(OptionError, match="vocabulary is 256; allowed are 257"):
        train_tokenizer([TEXT], 256)


def test_a_comparison_learns_the_tokens_of_its_own_text() -> None:
    tokens = tokenized(TextSet(name="t", train=TEXT, test=TEXT[:200]), None, 300)
    assert tokens.unit == "token" and tokens.vocabulary <= 300
    assert tokens.tokenizer.decode(tokens.test.tolist()) == TEXT[:200]
    with pytest.raises(OptionError, match="Give one of the two"):
        tokenized(TextSet(name="t", train=TEXT, test=TEXT), "words", 300)


@pytest.mark.slow
def test_a_comparison_keeps_the_tokenizer_and_refuses_too_long_a_context(tmp_path: Path, command: "Command") -> None:
    (tmp_path / "notes.txt").write_text(TEXT, encoding="utf-8")
    sizes = ("n_embd=8", "n_layer=1", "n_head=2", "n_positions=16")
    words: list[Any] = ["--arch", "gpt2", *(word for size in sizes for word in ("--set", size)), "--data", "notes.txt"]
    words += ["--init", "library", "--steps", 2, "--seeds", 1, "--vocabulary", 280, "--out", "out"]
    refused = command("compare", *words, "--length", 17)
    assert "--length is 17, but gpt2 has 16 positions. Type: --length 16" in refused.refusal
    done = command("compare", *words, "--json")
    assert done.status == 0, done.err
    (found,) = json.loads(done.out)["architectures"]
    assert found["task"]["unit"] == "token" and found["task"]["length"] == 16
    assert len(read_tokenizer(str(tmp_path / "out" / "tokenizer"))) == found["task"]["vocabulary"]
    assert command("compare", *words, "--json").status == 0  # goes on where it was
