"""`python -m training RECIPE --out runs/NAME --data PATH [--resume] [--minutes M]`."""

import importlib
import math
import pkgutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from paramgen.errors import ParamgenError, UnknownNameError
from training import recipes
from training.config import Config
from training.loop import Run


def recipe(name: str) -> Config:
    """Return the config of the recipe called `name`."""
    known = [module.name for module in pkgutil.iter_modules(recipes.__path__)]
    if name not in known:
        raise UnknownNameError.of("recipe", name, known, "A recipe is a file of training/recipes.")
    config: Config = importlib.import_module(f"training.recipes.{name}").config()
    return config


def main(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="A file of training/recipes, without its ending.")],
    out: Annotated[Path, typer.Option(help="The run's folder; decoded data is kept in its neighbour, cache.")],
    data: Annotated[Path, typer.Option(help="A folder, or a tar, of train/<class>/*.jpg and test/<class>/*.jpg.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    minutes: Annotated[float, typer.Option(help="Stop, ready to be resumed, after so many minutes.")] = math.inf,
) -> None:
    """Train the hypernet that a recipe describes."""
    try:
        Run(recipe(name), out, data, resume=resume).run(minutes=minutes)
    except ParamgenError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
