from pathlib import Path

import pytest
import torch

from paramgen.errors import OptionError
from training.data.datasets import Dataset
from training.data.texts import IGNORED, load_texts
from training.spaces.bert import Bert

TEXT = "".join(f"The {number}th of so many lines, and none like another.\n" for number in range(400))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_bytes_are_drawn_with_the_byte_that_follows_each(file: Path) -> None:
    texts, spelling = load_texts(file, 256, (8, 16))
    assert spelling[:, 0].tolist() == list(range(256))
    train = texts["train", 8]
    tokens, following = train.draw(5, torch.Generator().manual_seed(0))
    assert tokens.shape == following.shape == (5, 8) and torch.equal(tokens[:, 1:], following[:, :-1])
    assert bytes(tokens[0].tolist()).decode() in TEXT and len(train) == round(0.9 * len(TEXT))
    windows = [window for batch, _ in texts["test", 16].batches(4, limit=6) for window in batch]
    assert len(windows) == 6 and len({tuple(window.tolist()) for window in windows}) == 6


def test_subwords_are_made_of_the_text_and_know_their_spelling(file: Path) -> None:
    texts, spelling = load_texts(file, 300, (8,))
    again, _ = load_texts(file, 300, (8,))
    tokens = texts["train", 8].tokens
    assert torch.equal(tokens, again["train", 8].tokens) and len(tokens) < 0.7 * len(TEXT)
    letters = [bytes(byte for byte in spelling[token].tolist() if byte >= 0) for token in tokens[:40].tolist()]
    assert TEXT.startswith(b"".join(letters).decode())


@pytest.mark.parametrize("vocabulary", [256, 300])
def test_hidden_tokens_are_maskedand_no_others(file: Path, vocabulary: int) -> None:
    texts, spelling = load_texts(file, vocabulary, (64,))
    dataset = Dataset("text", vocabulary, texts, spelling)
    bert = Bert(resolution=64, width=32, depth=1, heads=2, expansion=2)
    seen, answers = dataset.train_batch(bert, 100, torch.Generator().manual_seed(0))
    masked = answers != IGNORED
    hidden = [spelling[token][spelling[token] >= 0].tolist() == [0] for token in seen.flatten().tolist()]
    share = torch.tensor(hidden).float().mean()
    assert abs(masked.float().mean() - 0.15) < 0.02 and abs(share - 0.12) < 0.02
    tokens, _ = texts["train", 64].draw(100, torch.Generator().manual_seed(0))
    assert torch.equal(seen[~masked], tokens[~masked]) and torch.equal(answers[masked], tokens[masked])
    first, again = (list(dataset.test_batches(bert, 4, limit=4)) for _ in range(2))
    assert torch.equal(first[0][0], again[0][0])


@pytest.mark.parametrize(
    ("vocabulary", "length", "words"), [(9, 8, "not even"), (5000, 8, "requested were 5000"), (256, 9000, "Give more")]
)
def test_a_text_that_is_too_short_is_refused(file: Path, vocabulary: int, length: int, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        load_texts(file, vocabulary, (length,))
