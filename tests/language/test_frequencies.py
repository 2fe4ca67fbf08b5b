"""Frequencies of tokens: the same whether a text is read whole or in pieces, and guessed by what a tokenizer has."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from paramgen.errors import OptionError
from paramgen.language import frequencies
from paramgen.language.frequencies import counts_of, guessed
from paramgen.language.tokenizers import train_tokenizer

LINES = "the cat sat on the mat\nund die Katze saß daneben\n" * 50


def of(model: Any, **special: str) -> Any:
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=Tokenizer(model), **special)


def test_pieces_count_as_the_whole_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text(LINES)
    tokenizer = train_tokenizer([LINES], 280)
    whole = counts_of(str(tmp_path / "a.txt"), tokenizer)
    monkeypatch.setattr(frequencies, "_PIECE", 37)  # in the middle of lines, and of letters
    parts = counts_of(str(tmp_path / "a.txt"), tokenizer)
    assert torch.equal(whole.counts, parts.counts) and whole.sha256 == parts.sha256
    assert whole.tokens == len(tokenizer(LINES)["input_ids"]) and whole.size == len(LINES.encode())
    found = counts_of(str(tmp_path / "a.txt"))
    assert torch.equal(found.counts, torch.bincount(torch.tensor(list(LINES.encode())), minlength=256))


def test_a_folder_is_all_of_its_texts(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.txt", "below/a.txt"):
        (tmp_path / name).write_text("ab")
    (tmp_path / "picture.png").write_bytes(b"\0")
    found = counts_of(str(tmp_path))
    assert found.tokens == 4 and found.counts[ord("a")] == 2
    (tmp_path / "b.txt").write_text("ba")
    assert counts_of(str(tmp_path)).sha256 != found.sha256


def test_smoothing_makes_no_token_impossible(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("aaab")
    logs = counts_of(str(tmp_path / "a.txt")).log_frequencies(300, 2)
    assert torch.allclose(logs.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    assert logs[ord("a")].exp() == pytest.approx(5 / 604) and logs[299].exp() == pytest.approx(2 / 604)


def test_a_unigram_tokenizer_has_its_own(tmp_path: Path) -> None:
    tokenizer = of(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -3.0)], unk_id=0), unk_token="<unk>")
    logs = guessed(tokenizer, 4)
    assert logs is not None and logs.exp().sum() == pytest.approx(1)
    assert logs[1] - logs[2] == pytest.approx(2) and logs[0] == logs[2] == logs[3]


def test_merges_come_in_their_order_and_strange_bytes_last() -> None:
    vocabulary = {"<|end|>": 0, "\u0101": 1, "a": 2, "ab": 3, "b": 4, "aba": 5}
    tokenizer = of(models.BPE(vocabulary, [("a", "b"), ("ab", "a")]), eos_token="<|end|>")
    logs = guessed(tokenizer, 7)
    assert logs is not None and logs.exp().sum() == pytest.approx(1)
    assert logs.argsort(descending=True).tolist()[:4] == [2, 4, 3, 5]
    assert logs.argmin() == 0


def test_word_pieces_tell_nothing() -> None:
    assert guessed(of(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")), 2) is None
    assert guessed(object(), 2) is None


def test_limits_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text(LINES)
    monkeypatch.setattr(frequencies, "MAX_TEXT_BYTES", 10)
    with pytest.raises(OptionError, match="more than 10 bytes of text") as refusal:
        counts_of(str(tmp_path))
    assert "\n" not in str(refusal.value)
    (tmp_path / "none").mkdir()
    with pytest.raises(OptionError, match="has 0 files that end in .txt"):
        counts_of(str(tmp_path / "none"))
