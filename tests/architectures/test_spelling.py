from tokenizers import ByteLevelBPETokenizer

from paramgen.architectures.spelling import letters_of


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
