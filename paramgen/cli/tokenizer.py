"""`paramgen tokenizer`: a tokenizer of the user's own text."""

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
        from paramgen import api

        trained = api.train_tokenizer(text, out, vocabulary=vocabulary)
    reporter.record(trained.to_json())
