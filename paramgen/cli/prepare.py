"""`paramgen prepare`: initial weights that a little training makes."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.cli.options import Arch, ExampleInput, Json, Overrides, folder_name, parsed_example, parsed_overrides

How = Annotated[
    str,
    typer.Option(
        "--how",
        metavar="WAY",
        show_default=False,
        help="warmup, distill:FOLDER, teacher, guide:ARCH, supermask, tickets, ...; options behind a question mark, "
        "'warmup?task=shapes'.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="FOLDER|TAR|FILE|SPEC", help="As for compare; warmup needs none."),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="The folder to write. Without it, prepared-ARCHITECTURE.")
]
Init = Annotated[str, typer.Option("--init", metavar="SPEC", help="Whose weights are trained, as for predict.")]
Lr = Annotated[float | None, typer.Option("--lr", help="The largest learning rate; without it, that of the way.")]
Batch = Annotated[int | None, typer.Option("--batch", help="Examples in a step; without it, that of the way.")]
TrainExamples = Annotated[int, typer.Option("--train-examples", help="Images to learn from, at most.")]
Length = Annotated[int | None, typer.Option("--length", help="Of the windows of a text, in tokens, as for compare.")]
Tokenizer = Annotated[
    str | None,
    typer.Option("--tokenizer", metavar="DIR|FILE|REPO", help="Of a text, as for compare; copied into the folder."),
]


def prepare(
    *,
    arch: Arch,
    how: How,
    data: Data = None,
    steps: Annotated[int, typer.Option("--steps", help="Of training.")] = 1000,
    out: Out = None,
    init: Init = "library",
    seed: Annotated[int, typer.Option("--seed", help="Of the weights, the order of the data and what is drawn.")] = 0,
    lr: Lr = None,
    batch: Batch = None,
    train_examples: TrainExamples = 50_000,
    length: Length = None,
    tokenizer: Tokenizer = None,
    overrides: Overrides = None,
    example_input: ExampleInput = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder of paramgen's, and work that did not end.")
    ] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, print the result only.")] = False,
) -> None:
    """Train initial weights a little, and write them into a folder that the library's own from_pretrained loads.

    warmup: on brackets and cellular automata, or shapes and fractals, that formulas make; no data are needed.
    distill:FOLDER: to answer as a trained model does. teacher: to answer as its own random copy does, without labels.
    guide:ARCH: labels, and layers like those of another network. supermask: weights of a fixed size, of which training
    only chooses which are kept, and their signs. tickets: the initial weights, of which those are kept that training,
    round by round, makes large. bonsai: rounds that are right where those before fail, then all that they found in one
    network. triplets:FILE.json: which of two pictures is nearer to a third, by votes.

    A command that was killed goes on where it was when it is typed again, with the same bytes in the end. What it was
    worth, `compare` measures: it counts the seconds of the preparation.

    [dim]paramgen prepare --arch gpt2 --set n_layer=2 --how warmup --steps 500 --out warm
    paramgen prepare --arch timm:vit_tiny_patch16_224 --how distill:trained --data photos --out distilled
    paramgen prepare --arch my_model.py:build --how guide:timm:resnet18 --data photos --out guided
    paramgen compare --arch gpt2 --set n_layer=2 --data notes.txt --init prepared:warm --init library[/dim]
    """
    from paramgen.cli.output import Reporter

    folder = out if out is not None else Path(f"prepared-{folder_name(arch) or 'weights'}")
    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.counted("Building and tracing") as advance:
        from paramgen import api

        prepared = api.prepare(
            arch,
            folder,
            how=how,
            data=data,
            steps=steps,
            init=init,
            seed=seed,
            lr=lr,
            batch=batch,
            train_examples=train_examples,
            length=length,
            tokenizer=tokenizer,
            overrides=parsed_overrides(overrides),
            example_input=parsed_example(example_input),
            overwrite=overwrite,
            progress=advance,
        )
    if as_json:
        reporter.record(prepared.to_json())
    else:
        reporter.written(prepared.written)
