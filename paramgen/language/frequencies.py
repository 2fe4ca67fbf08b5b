"""How frequent each token is: counted in a text, or guessed from what a tokenizer was trained to.

Without a text, a Unigram tokenizer (SentencePiece) has log-probabilities of its own; one by BPE has an order, in which
frequent pairs were merged first, and Zipf's law as Mandelbrot has it makes frequencies of ranks.
"""

import codecs
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, final

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from paramgen.architectures.processors import rows_of
from paramgen.architectures.spelling import letters_of
from paramgen.errors import OptionError, one_line

BYTES: Final = 256
MAX_TEXT_BYTES: Final = 1_000_000_000  # of a file, and of a folder
MAX_TEXT_FILES: Final = 100_000
RANK_SHIFT: Final = 30.0  # Mandelbrot's, in ranks: the first merges are mostly parts of later ones
_PIECE: Final = 1 << 20
_ADVICE: Final = "Type: --init unigram:FILE, with a UTF-8 text, or a folder of .txt files"


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counts:
    """How often each token is in a text, and which text that was."""

    counts: Int64[Tensor, " rows"]
    sha256: str  # of the file; of a folder, over the names and contents of its files
    tokens: int
    size: int  # in bytes

    def log_frequencies(self, rows: int, smoothing: float | int) -> Float64[Tensor, " rows"]:
        """Return the log-frequency of each of `rows` tokens, as if each had been seen `smoothing` times more."""
        counts = torch.full((rows,), float(smoothing), dtype=torch.float64)
        counts[: len(self.counts)] += self.counts
        return (counts / counts.sum()).log()


def counts_of(path: str, tokenizer: Any = None) -> Counts:
    """Count the tokens of a text, or its bytes where there is no tokenizer; it is read piece by piece.

    Raises:
        OptionError: There is no text, it is no UTF-8, or it is too large.

    """
    rows = BYTES if tokenizer is None else rows_of(tokenizer)
    counts, digest, size = torch.zeros(rows, dtype=torch.int64), sha256(), 0
    root = Path(path)
    for file in _files(root):
        if root.is_dir():
            digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
        for text in filter(None, _pieces(file, digest)):
            content = text.encode()
            size += len(content)
            if tokenizer is None:
                ids = torch.frombuffer(bytearray(content), dtype=torch.uint8).long()
            else:
                ids = torch.tensor(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]).long()
            counts += torch.bincount(ids, minlength=rows)
    if not counts.any():
        raise OptionError(f"{path} has no text to count tokens in. {_ADVICE}")
    return Counts(counts=counts, sha256=digest.hexdigest(), tokens=int(counts.sum()), size=size)


def _files(path: Path) -> Sequence[Path]:
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(each for each in path.rglob("*.txt") if each.is_file())
    else:
        raise OptionError(f"There is no file or folder {one_line(repr(str(path)))}. {_ADVICE}")
    if not files or len(files) > MAX_TEXT_FILES:
        raise OptionError(
            f"{path} has {len(files):,} files that end in .txt; allowed are 1 to {MAX_TEXT_FILES:,}. {_ADVICE}"
        )
    if sum(file.stat().st_size for file in files) > MAX_TEXT_BYTES:
        raise OptionError(f"{path} has more than {MAX_TEXT_BYTES:,} bytes of text. Give a part of it. {_ADVICE}")
    return files


def _pieces(file: Path, digest: Any) -> Iterator[str]:
    """Yield the text of a file in pieces that end with a line where they can, and add its bytes to the digest."""
    decoder, kept, left = codecs.getincrementaldecoder("utf-8")(), "", MAX_TEXT_BYTES
    with file.open("rb") as opened:
        while left > 0 and (block := opened.read(min(_PIECE, left))):  # however long it has become meanwhile
            left -= len(block)
            digest.update(block)
            if b"\0" in block:
                raise OptionError(f"{file} is no text: it has a byte that is zero. {_ADVICE}")
            try:
                kept += decoder.decode(block)
            except UnicodeDecodeError as error:
                raise OptionError(f"{file} is not UTF-8 text: {error.reason}. {_ADVICE}") from error
            cut = kept.rfind("\n") + 1 or len(kept)
            yield kept[:cut]
            kept = kept[cut:]
    try:
        yield kept + decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise OptionError(f"{file} is not UTF-8 text: {error.reason} at its end. {_ADVICE}") from error


def guessed(tokenizer: Any, rows: int) -> Float64[Tensor, " rows"] | None:
    """Return log-frequencies by a tokenizer alone; None where it tells nothing of them, as WordPiece's does not."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    data = json.loads(backend.to_str())
    special = {int(each["id"]) for each in data.get("added_tokens") or ()}
    model = data["model"]
    if model.get("type") == "Unigram":
        return _by_scores([float(score) for _, score in model["vocab"]], special, rows)
    if model.get("type") == "BPE":
        return _by_merges(model["vocab"], model["merges"], special, rows)
    return None


def source_of(tokenizer: Any) -> str:
    """Return in words by what `guessed` guesses."""
    kind = type(tokenizer.backend_tokenizer.model).__name__
    return "the tokenizer's own scores" if kind == "Unigram" else "the order of the tokenizer's merges"


def _by_scores(scores: Sequence[float], special: set[int], rows: int) -> Float64[Tensor, " rows"]:
    """Return the scores as log-frequencies; a special token, whose score is none, is as rare as the rarest."""
    known = [score for number, score in enumerate(scores) if number not in special and score < 0]
    logs = torch.full((rows,), min(known, default=0.0), dtype=torch.float64)
    for number, score in enumerate(scores):
        if number not in special and score < 0:
            logs[number] = score
    return logs.log_softmax(0)


def _by_merges(
    vocabulary: Mapping[str, int], merges: Sequence[Any], special: set[int], rows: int
) -> Float64[Tensor, " rows"]:
    """Return log-frequencies by the rank of each token: 1 / (rank + RANK_SHIFT).

    First come single printable characters of ASCII, then what is merged, in that order, then other single characters,
    and special tokens, and rows without a token.
    """
    joined = ("".join(merge) if isinstance(merge, list) else merge.replace(" ", "", 1) for merge in merges)
    merged = [number for token in joined if (number := vocabulary.get(token)) is not None]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    letters = letters_of(tokens, 2)
    first, alone = letters[:, 0], letters[:, 1] < 0
    plain = alone & (((first >= 32) & (first < 127)) | (first == ord("\n")))
    single = [vocabulary[token] for token, fits in zip(tokens, plain.tolist(), strict=True) if fits]
    order = [number for number in dict.fromkeys((*single, *merged, *range(rows))) if number not in special]
    order += sorted(number for number in special if number < rows)
    logs = torch.empty(rows, dtype=torch.float64)
    logs[torch.tensor(order)] = -(torch.arange(rows).double() + RANK_SHIFT).log()
    return logs.log_softmax(0)
