"""`python -m training.export RUN --out FOLDER`: write a run's averaged hypernet in bfloat16, as the wheel ships it."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from paramgen.errors import OptionError, ParamgenError
from paramgen.graphs.analysis.address import Address
from paramgen.hypernets.loading import Predictor, config_of, fresh
from paramgen.hypernets.supernet import Supernet
from training import checkpoint
from training.loop import CONFIG_NAME, config_in


def export(run: Path, out: Path, *, without: Sequence[str] = (), data: Path | None = None) -> None:
    """Write what the run's folder describes, with the average in its checkpoint as weights: a hypernet or a pipeline.

    Args:
        run: The run's folder.
        out: The folder to write.
        without: Beginnings of the names of a supernet's shared weights that are left out.
        data: The zoo of a denoiser.

    """
    path = run / CONFIG_NAME
    if not path.exists():
        raise OptionError(f"{run} is no run: it has no {CONFIG_NAME}. Type the folder given to --out.")
    config = config_in(run)
    if "denoiser" in config:
        _export_pipeline(run, out, zoo=data, without=without)
        return
    if data is not None:
        raise OptionError("--data is for a denoiser of weights; a hypernet needs none. Leave it out.")
    hypernet = fresh(config_of(config["hypernet"]))
    hypernet.load_state_dict(checkpoint.average(run))
    if without:
        hypernet = _reduced(hypernet, tuple(without))
    hypernet.to(torch.bfloat16).save_pretrained(out)


def _export_pipeline(run: Path, out: Path, *, zoo: Path | None, without: Sequence[str]) -> None:
    if zoo is None or without:
        raise OptionError("A denoiser of weights is exported with --data ZOO, and without --without.")
    from training.weights.export import export as export_pipeline

    export_pipeline(run, out, zoo)


def _reduced(supernet: Predictor, without: tuple[str, ...]) -> Supernet:
    """Return a supernet without some of its shared weights."""
    if not isinstance(supernet, Supernet):
        raise OptionError("--without names shared weights, which only a supernet has. Leave it out.")
    kept = {name: shared for name, shared in supernet.shared.items() if not name.startswith(without)}
    tensors = {Address.parse(name): tuple(shared.shape) for name, shared in kept.items()}
    reduced = Supernet(replace(supernet.config, tensors=tensors))
    reduced.shared = torch.nn.ParameterDict(kept)
    return reduced


def main(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    *,
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out shared weights whose names begin so: head100/.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Of a denoiser of weights: its zoo.")] = None,
) -> None:
    """Write a run's hypernet, or the pipeline of a run over a zoo."""
    try:
        export(run, out, without=without or (), data=data)
    except ParamgenError as error:
        sys.stderr.write(f"{error.message}\n")
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
