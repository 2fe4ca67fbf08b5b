import base64

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer

from paramgen.architectures.spelling import Letters, letters_of
from paramgen.errors import OptionError


def spelling(*tokens: str) -> list[bytes]:
    return [bytes(byte for byte in row if byte >= 0) for row in letters_of(tokens, 8).tolist()]


def test_byte_level_tokens_are_spelled_with_the_bytes_they_stand_for() -> None:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["the thing — the thin\n"] * 9, vocab_size=270, show_progress=False)
    tokens = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    found = spelling(*tokens)
    assert {found[number] for number in range(256)} == {bytes([byte]) for byte in range(256)}
    ids = tokenizer.encode("the thing — the\n").ids
    assert b"".join(found[number] for number in ids) == "the thing — the\n".encode()


def test_sentencepiece_and_wordpiece_are_spelled_as_they_are_read() -> None:
    assert spelling("\u2581the", "<0x0A>", "é", "##ing") == [b" the", b"\n", "é".encode(), b"ing"]


def test_special_tokens_are_spelled_with_nothing_and_long_ones_by_their_beginning() -> None:
    assert spelling("<pad>", "[MASK]", "<|endoftext|>", "long enough") == [b"", b"", b"", b"long eno"]


def test_letters_are_sent_and_read_again() -> None:
    rows = letters_of(["a", "bcdefghijk", "<pad>", "\u00e9", "\0"], 8)
    text = Letters(rows).to_text()
    assert torch.equal(Letters.from_text(text, 8).rows, rows) and Letters.from_text(text, 8).to_text() == text


@pytest.mark.parametrize(
    "content",
    [b"", b"\1a", b"\2ab\0", b"\3abc", b"\0a\0", b"\1a\0\1a"],
    ids=["nothing", "too short", "too long", "more than there is", "behind its end", "half a token"],
)
def test_letters_of_another_kind_are_refused(content: bytes) -> None:
    with pytest.raises(OptionError, match="The spelling of tokens"):
        Letters.from_text(base64.b64encode(content).decode(), 2)


def test_what_is_no_base64_is_refused() -> None:
    for text in ("a", "\u00e9", "AA=A", "AAA!"):
        with pytest.raises(OptionError, match="The spelling of tokens is no base64"):
            Letters.from_text(text, 2)
