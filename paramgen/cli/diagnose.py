"""`paramgen diagnose`: what initial weights look like before training."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.cli.options import parsed_example, parsed_overrides

Arch = Annotated[
    str | None,
    typer.Option("--arch", metavar="NAME", help="As for predict; it may be left out where there is a --folder."),
]
Init = Annotated[
    list[str] | None,
    typer.Option("--init", metavar="SPEC", help="An initializer, as for predict. Repeatable; without any, library."),
]
Folder = Annotated[
    list[Path] | None,
    typer.Option("--folder", metavar="DIR", help="Weights that were written, as one more initialization. Repeatable."),
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="FOLDER|TAR|FILE|SPEC", help="As for compare; without it, noise and random labels."),
]
What = Annotated[
    str | None,
    typer.Option(
        "--what",
        metavar="MEASURE,...",
        help="signal, guessing, gradient, ntk, proxies: these without it; plasticity, interference, relative, epsinas, "
        "rate, laziness, drift, rank, barrier, alignment, jacobian, bias.",
    ),
]
Examples = Annotated[int | None, typer.Option("--examples", help="How many the network is run on; else 32.")]
Seeds = Annotated[int, typer.Option("--seeds", help="Of how many seeds figures are the mean.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE.html", help="A page with pictures, for any browser.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the config, as for predict. Repeatable.")
]
ExampleInput = Annotated[
    str | None, typer.Option("--example-input", metavar="SHAPE|FILE.PY:FN", help="As for predict: 2x3x32x32.")
]
Tokenizer = Annotated[
    str | None, typer.Option("--tokenizer", metavar="DIR|FILE|REPO", help="Of a text, as for compare.")
]


def diagnose(
    *,
    arch: Arch = None,
    init: Init = None,
    folder: Folder = None,
    data: Data = None,
    what: What = None,
    examples: Examples = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the weights, the noise and the random labels.")] = 0,
    seeds: Seeds = 1,
    out: Out = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that page.")] = False,
    overrides: Overrides = None,
    example_input: ExampleInput = None,
    tokenizer: Tokenizer = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, print the advice only.")] = False,
) -> None:
    """Say what is wrong with initial weights before a single step of training, for several initializers side by side.

    signal: variance, correlation and gradients from layer to layer. guessing: whether the network prefers a class.
    gradient: its norm by layer, dead units, rank of the features. ntk: how unevenly directions are learnt.
    proxies: scores of architecture search. plasticity: largest singular values. interference: what a step harms.
    relative: whether two networks see the same examples alike. epsinas: a score of the architecture.

    These train the network for some steps, on the examples, and need longer. rate: the largest learning rate.
    laziness: whether features change. drift: how far weights go. rank: of what is learnt. barrier: whether runs end in
    one basin. alignment: neurons that turn early. jacobian: which directions of the weights training leaves (small
    networks). bias: nats that are lacking to generalize. With --out, the same command goes on after a kill.

    [dim]paramgen diagnose --arch timm:resnet18 --example-input 2x3x32x32 --init library --init he --init orthogonal
    paramgen diagnose --arch my_model.py:build --data photos --what signal,guessing --out diagnosis.html
    paramgen diagnose --arch my_model.py:build --data photos --what rate,barrier --examples 512
    paramgen diagnose --folder weights --json[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.counted("Building and tracing") as advance:
        from paramgen import api

        diagnosis = api.diagnose(
            arch,
            init=init,
            folder=folder or (),
            data=data,
            what=what,
            seed=seed,
            seeds=seeds,
            examples=examples,
            out=out,
            overwrite=overwrite,
            overrides=parsed_overrides(overrides),
            example_input=parsed_example(example_input),
            tokenizer=tokenizer,
            progress=advance,
        )
    reporter.diagnosed(diagnosis, out)
