"""`paramgen tokenizer`: its options, and what it prints."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.cli.options import Json, Quiet


def tokenizer(
    text: Annotated[Path, typer.Argument(help="A text file, or a folder of them (*.txt, *.md).", show_default=False)],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.", show_default=False)],
    vocabulary: Annotated[int, typer.Option("--vocabulary", help="Number of tokens, at most.")] = 8_000,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a byte-level BPE tokenizer on a text of yours, for a language model that is trained from scratch on it.

    [dim]paramgen tokenizer notes.txt --vocabulary 2000 --out words
    paramgen predict --arch gpt2 --set vocab_size=2000 --tokenizer words --out weights
    paramgen compare --arch gpt2 --data notes.txt --tokenizer words[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.stage("Reading and counting"):
        from paramgen.comparison.data.text import read_texts
        from paramgen.language.tokenizers import train_tokenizer
        from paramgen.storage.folder import checked_target, transaction

        checked_target(out)
        texts = read_texts(text)
        trained = train_tokenizer(texts, vocabulary)
        with transaction(out) as partial:
            trained.save_pretrained(partial)
        tokens = sum(len(trained(each, add_special_tokens=False)["input_ids"]) for each in texts)
    read = sum(len(each.encode()) for each in texts)
    reporter.record({"folder": str(out), "vocabulary": len(trained), "bytes": read, "tokens": tokens})
