"""`python -m training RECIPE --out runs/NAME --data PATH`: train the hypernet or denoiser that a recipe describes."""

import importlib
import math
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from paramgen.errors import OptionError, ParamgenError, UnknownNameError
from training import recipes
from training.config import Config, Precision
from training.data.datasets import dataset_paths
from training.loop import HypernetRun
from training.weights.config import WeightsConfig


def recipe(name: str) -> Config | WeightsConfig:
    """Return the config of the recipe called `name`."""
    known = [module.name for module in pkgutil.iter_modules(recipes.__path__)]
    if name not in known:
        raise UnknownNameError.of("recipe", name, known, "A recipe is a file of training/recipes.")
    config: Config | WeightsConfig = importlib.import_module(f"training.recipes.{name}").config()
    return config


def main(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="A file of training/recipes, without its ending.")],
    out: Annotated[Path, typer.Option(help="The run's folder; decoded data is kept in its neighbour, cache.")],
    data: Annotated[
        list[str],
        typer.Option(
            help="A folder, or a tar, of train/<class>/*.jpg and test/ or val/; NAME=PATH for each of several. "
            "For a denoiser: a zoo."
        ),
    ],
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    minutes: Annotated[float, typer.Option(help="Stop, ready to be resumed, after so many minutes.")] = math.inf,
    keep_every: Annotated[int, typer.Option(min=0, help="Keep the average of every so many steps; 0: none.")] = 0,
    processes: Annotated[int | None, typer.Option(help="How many processes must have been started.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Mixed precision, in place of the recipe's.")] = None,
) -> None:
    """Train the hypernet, or the denoiser of weights, that a recipe describes."""
    try:
        config = recipe(name)
        if isinstance(config, WeightsConfig):
            hypernets = {"--keep-every": keep_every, "--processes": processes, "--precision": precision}
            _run_weights(config, out, data, resume=resume, minutes=minutes, refused=hypernets)
            return
        if precision is not None:
            config = replace(config, optimization=replace(config.optimization, precision=precision))
        run = HypernetRun(config, out, dataset_paths(data, config.datasets), resume=resume, processes=processes)
        run.run(minutes=minutes, keep_every=keep_every)
    except ParamgenError as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise typer.Exit(2) from error


def _run_weights(
    config: WeightsConfig, out: Path, data: list[str], *, resume: bool, minutes: float, refused: Mapping[str, object]
) -> None:
    """Train a denoiser, which fits one process."""
    given = next((option for option, value in refused.items() if value), None)
    if given is not None or len(data) != 1:
        raise OptionError(f"{given or 'More than one --data'} is for hypernets; a denoiser takes --data ZOO alone.")
    from training.weights.loop import WeightsRun

    WeightsRun(config, out, Path(data[0]), resume=resume).run(minutes=minutes)


if __name__ == "__main__":
    typer.run(main)
