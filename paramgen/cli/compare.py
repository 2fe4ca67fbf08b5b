"""`paramgen compare`: which initialization trains best."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from paramgen.cli.options import folder_name, parsed_example, parsed_overrides

if TYPE_CHECKING:
    from paramgen.comparison.options import Schedule as ScheduleName

Arch = Annotated[
    list[str], typer.Option("--arch", metavar="NAME", show_default=False, help="As for predict. Repeatable.")
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="FOLDER|TAR|FILE|SPEC",
        show_default=False,
        help="Class folders of images (or a .tar of them), a text, torchvision:CIFAR10?root=DIR, datasets:NAME.",
    ),
]
Init = Annotated[
    list[str] | None,
    typer.Option(
        "--init",
        metavar="SPEC",
        help="An initializer, as for predict, with its modifiers, 'he|lowrank:8'; without any, hypernet and library.",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="The folder of results. Without it, compare-ARCHITECTURE.")
]
Seeds = Annotated[int, typer.Option("--seeds", help="Repetitions with other random numbers and data orders.")]
Lr = Annotated[
    str,
    typer.Option(
        "--lr",
        metavar="LR,LR,...|mup[:LR,...]",
        help="Learning rates; every initialization is trained at its best one. With mup, those of hidden and output "
        "matrices are multiplied by 256 / fan-in; 'mup?base=64' by 64 / fan-in.",
    ),
]
Widen = Annotated[
    int,
    typer.Option("--widen", help="How many learning rates more may be tried beyond an edge where the best one lies."),
]
Schedule = Annotated[
    str, typer.Option("--schedule", metavar="cosine|constant", help="Of the learning rate, after a short warmup.")
]
FullGrid = Annotated[
    bool, typer.Option("--full-grid", help="Try all learning rates with all seeds; else the grid has seed 0 only.")
]
TrainExamples = Annotated[int, typer.Option("--train-examples", help="Images to learn from, at most.")]
TestExamples = Annotated[int, typer.Option("--test-examples", help="Images or windows to test on, at most.")]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer", metavar="DIR|FILE|REPO", help="For a text; without it, bytes are learnt, or --vocabulary."
    ),
]
Vocabulary = Annotated[
    int | None,
    typer.Option(
        "--vocabulary",
        help="For a text: train a byte-level BPE tokenizer of so many tokens on it, as --set vocab_size=N does.",
    ),
]
Length = Annotated[
    int | None, typer.Option("--length", help="Of the windows of a text, in tokens; 128, or fewer positions.")
]
RescaleEvery = Annotated[
    int | None,
    typer.Option(
        "--rescale-every",
        metavar="STEPS",
        help="Target variance rescaling: after so many steps each matrix gets back the std of its initial weights.",
    ),
]
RescaleStd = Annotated[
    float | None, typer.Option("--rescale-std", help="One std for all matrices instead of that; the paper's is 0.01.")
]
Sparse = Annotated[
    str | None,
    typer.Option(
        "--sparse",
        metavar="st3:SHARE",
        help="A soft threshold that rises in training makes this share of all weights zero, for every initialization.",
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the config, as for predict. Repeatable.")
]
ExampleInput = Annotated[
    str | None, typer.Option("--example-input", metavar="SHAPE|FILE.PY:FN", help="As for predict: 2x3x32x32.")
]


def compare(
    *,
    arch: Arch,
    data: Data,
    init: Init = None,
    out: Out = None,
    steps: Annotated[int, typer.Option("--steps", help="Of training, for every run.")] = 200,
    seeds: Seeds = 3,
    lr: Lr = "3e-4,7e-4,1.7e-3,4e-3,1e-2",
    widen: Widen = 3,
    batch: Annotated[int, typer.Option("--batch", help="Images or windows in a step.")] = 64,
    schedule: Schedule = "cosine",
    full_grid: FullGrid = False,
    train_examples: TrainExamples = 50_000,
    test_examples: TestExamples = 2_000,
    length: Length = None,
    rescale_every: RescaleEvery = None,
    rescale_std: RescaleStd = None,
    sparse: Sparse = None,
    tokenizer: Tokenizer = None,
    vocabulary: Vocabulary = None,
    overrides: Overrides = None,
    example_input: ExampleInput = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, print the conclusion only.")] = False,
) -> None:
    """Train from several initializations, all alike, and say which is best for a network and your data.

    Writes results.json, table.md, curves.png and index.html, which opens in any browser. A second call with the same
    settings goes on where the first was interrupted.

    [dim]paramgen compare --arch my_model.py:build --data photos --init hypernet --init library --steps 200
    paramgen compare --arch timm:resnet18 --data photos --example-input 2x3x64x64 --seeds 5
    paramgen compare --arch vit_b16 --data photos --init he --init 'he|lowrank:0.1' --init 'he|scale:0.1'
    paramgen compare --arch gpt2 --set n_layer=2 --data notes.txt --init library --init hypernet[/dim]
    """
    from paramgen.cli.output import Reporter

    folder = out if out is not None else Path(f"compare-{folder_name(arch[0]) or 'inits'}")
    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.runs("Reading the data, building and tracing") as advance:
        from paramgen import api

        comparison = api.compare(
            arch,
            data,
            init=init or ("hypernet", "library"),
            out=folder,
            overrides=parsed_overrides(overrides),
            example_input=parsed_example(example_input),
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            progress=advance,
            steps=steps,
            seeds=seeds,
            lr=lr,
            widen=widen,
            batch=batch,
            schedule=cast("ScheduleName", schedule),  # Protocol refuses any other
            full_grid=full_grid,
            train_examples=train_examples,
            test_examples=test_examples,
            length=length,
            rescale_every=rescale_every,
            sparse=sparse,
            rescale_std=rescale_std,
        )
    reporter.compared(comparison, folder)
