"""Text for language models: a file or a folder of them, as bytes or through a tokenizer that the user names."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from jaxtyping import Int64
from torch import Tensor

from paramgen.architectures.processors import read_tokenizer, rows_of
from paramgen.errors import OptionError
from paramgen.language.tokenizers import train_tokenizer
from paramgen.storage.regular import refuse_irregular

TEXT_SUFFIXES: Final = frozenset((".txt", ".text", ".md"))
TEST: Final = ("test", "val", "valid", "validation")
MAX_TEXT_BYTES: Final = 1_000_000_000  # of one file, and of a folder
HELD_OUT_TEXT: Final = 0.1
BYTE_VALUES: Final = 256


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextSet:
    """Text to learn from and text to test on."""

    name: str
    train: str
    test: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for which, text in (("train on", self.train), ("test on", self.test)):
            if not text.strip():
                raise OptionError(f"--data {self.name} has no text to {which}. Give a longer text.")

    @property
    def identity(self) -> str:
        """A hash of the whole text."""
        return hashlib.sha256(f"{self.train}\0{self.test}".encode()).hexdigest()


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """A text as numbers below `vocabulary`; `unit` is what one of them stands for."""

    train: Int64[Tensor, " _"]
    validation: Int64[Tensor, " _"]  # the end of what would be trained on
    test: Int64[Tensor, " _"]
    vocabulary: int
    unit: str
    tokenizer: Any = None  # of transformers; None for bytes
    bytes_per_token: float | None = None  # of the text to test on, in UTF-8; None for bytes


def folder_text(path: Path) -> TextSet:
    """Return the text of a file, or of the text files below a folder."""
    if path.is_file():
        return held_out(str(path), [_text(path)])
    files = _files(path)
    testing = [file for file in files if _is_test(file.relative_to(path))]
    training = [file for file in files if file not in testing]
    if not testing or not training:
        return held_out(str(path), [_text(file) for file in files])
    train, test = ("\n".join(_text(file) for file in chosen) for chosen in (training, testing))
    return TextSet(name=str(path), train=train, test=test)


def read_texts(path: Path) -> list[str]:
    """Return the text of a file, or those of the text files below a folder, in the order of their names."""
    if not path.exists():
        raise OptionError(f"There is no file or folder {str(path)!r}. Type the name of a text file.")
    refuse_irregular(path, OptionError, "Type the name of a text file.")
    texts = [_text(file) for file in ([path] if path.is_file() else _files(path))]
    if not any(text.strip() for text in texts):
        raise OptionError(f"{str(path)!r} has no text. Give a longer text.")
    return texts


def _files(path: Path) -> list[Path]:
    files = sorted(each for each in path.rglob("*") if each.suffix.lower() in TEXT_SUFFIXES and each.is_file())
    if not files:
        raise OptionError(
            f"{path} holds neither images ({{class}}/*.jpg) nor text (*.txt). Give a folder of class folders, "
            "or a text file."
        )
    if sum(file.stat().st_size for file in files) > MAX_TEXT_BYTES:
        raise OptionError(f"{path} has more than {MAX_TEXT_BYTES:,} bytes of text. Give a part of it.")
    return files


def held_out(name: str, texts: Sequence[str]) -> TextSet:
    """Keep the last tenth of each text for testing."""
    cuts = [round((1 - HELD_OUT_TEXT) * len(text)) for text in texts]
    return TextSet(
        name=name,
        train="\n".join(text[:cut] for text, cut in zip(texts, cuts, strict=True)),
        test="\n".join(text[cut:] for text, cut in zip(texts, cuts, strict=True)),
        notes=(f"The last {HELD_OUT_TEXT:.0%} of each text were held out for testing.",),
    )


def tokenized(text: TextSet, tokenizer: str | None, vocabulary: int | None = None) -> Tokens:
    """Return the text as bytes, or as tokens.

    Args:
        text: What was opened.
        tokenizer: In a folder, a tokenizer.json or a Hub repository.
        vocabulary: Number of tokens of a tokenizer that is trained on the text to learn from.

    """
    if tokenizer is not None and vocabulary is not None:
        raise OptionError("--tokenizer names a tokenizer, --vocabulary trains one. Give one of the two.")
    if vocabulary is not None:
        return _tokens(text, train_tokenizer([text.train], vocabulary))
    if tokenizer is not None:
        return _tokens(text, read_tokenizer(tokenizer))
    train, test = (torch.frombuffer(bytearray(part.encode()), dtype=torch.uint8) for part in (text.train, text.test))
    return _divided(train.long(), test.long(), vocabulary=BYTE_VALUES, unit="byte")


def _tokens(text: TextSet, reader: Any) -> Tokens:
    ids = [reader(part, add_special_tokens=False)["input_ids"] for part in (text.train, text.test)]
    train, test = (torch.tensor(part, dtype=torch.int64) for part in ids)
    size = len(text.test.encode()) / max(1, len(test))
    return _divided(train, test, vocabulary=rows_of(reader), unit="token", tokenizer=reader, bytes_per_token=size)


def _divided(train: Int64[Tensor, " _"], test: Int64[Tensor, " _"], **about: Any) -> Tokens:
    """Keep the last tenth of the tokens to train on for choosing learning rates."""
    cut = round((1 - HELD_OUT_TEXT) * len(train))
    return Tokens(train=train[:cut], validation=train[cut:], test=test, **about)


def _is_test(path: Path) -> bool:
    words = [part.lower() for part in (*path.parts[:-1], path.stem)]
    return any(word in TEST or word.rpartition("-")[2] in TEST for word in words)


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise OptionError(f"{path} has more than {MAX_TEXT_BYTES:,} bytes of text. Give a part of it.")
    content = path.read_bytes()
    if b"\0" in content:
        raise OptionError(f"{path} is no text: byte {content.index(0):,} is zero. Give a text file in UTF-8.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OptionError(
            f"{path} is not UTF-8 text: byte {error.start:,} is 0x{error.object[error.start]:02x}. Give a text "
            "file, or a folder of class folders with images."
        ) from error
