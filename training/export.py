"""`python -m training.export RUN --out FOLDER`: write a run's averaged hypernet in bfloat16, as the wheel ships it."""

import json
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from paramgen.errors import OptionError, ParamgenError
from paramgen.hypernets.loading import config_of, fresh
from training import checkpoint
from training.loop import CONFIG_NAME


def export(run: Path, out: Path) -> None:
    """Write the hypernet that the run's folder describes, with the average in its checkpoint as weights."""
    path = run / CONFIG_NAME
    if not path.exists():
        raise OptionError(f"{run} is no run: it has no {CONFIG_NAME}. Type the folder given to --out.")
    hypernet = fresh(config_of(json.loads(path.read_text())["hypernet"]))
    hypernet.load_state_dict(checkpoint.average(run))
    hypernet.to(torch.bfloat16).save_pretrained(out)


def main(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
) -> None:
    """Write a run's hypernet."""
    try:
        export(run, out)
    except ParamgenError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
