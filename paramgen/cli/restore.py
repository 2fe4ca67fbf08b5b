"""`paramgen restore`: the folder of a recipe, or of weights in few bits."""

from pathlib import Path
from typing import Annotated, Any

import typer

from paramgen.cli.options import ImageProcessor, Json, Quiet


def restore(
    file: Annotated[
        Path, typer.Argument(help="What predict --as recipe, or predict --quantize, wrote.", show_default=False)
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to write. Without it, named after the file.")
    ] = None,
    hypernet: Annotated[
        str | None,
        typer.Option(
            "--hypernet", metavar="DIR|REPO", help="Where the recipe has one that does not come with paramgen."
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", metavar="DIR|FILE|REPO", help="Where the recipe has one beside the weights."),
    ] = None,
    image_processor: ImageProcessor = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that paramgen wrote.")] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Load the folder with its library.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and what it needs.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the folder of a recipe: the one that predict would have written, byte for byte, or none.

    Of a folder that predict --quantize wrote, make the ordinary one.

    All tensors are drawn again and compared with the recipe's digest before the folder appears. The recipe may be
    anybody's: no code is run for it, and no file or repository is read but those that you name here.

    [dim]paramgen predict --arch gpt2-large --as recipe --out gpt2.json
    paramgen restore gpt2.json --out weights[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.progress("Reading") as progress:
        from paramgen import api

        done: Any = (
            api.restorable(file)
            if dry_run
            else api.restore(
                file,
                out or _named_after(file),
                hypernet=hypernet,
                tokenizer=tokenizer,
                image_processor=image_processor,
                overwrite=overwrite,
                verify=check,
                progress=progress,
            )
        )
    if dry_run or file.is_dir():
        reporter.record(done.to_json() if as_json else done.in_words())
    else:
        reporter.written(done)


def _named_after(file: Path) -> Path:
    """Return the folder of `gpt2.recipe.json`, where the command was typed: `gpt2`; that of a folder is another."""
    if file.is_dir():
        return Path(f"{file.resolve().name}-restored")
    return Path(file.name.removesuffix(".json").removesuffix(".recipe") or "weights")
