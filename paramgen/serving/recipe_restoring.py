"""A recipe becomes the folder that it was made of: drawn again, compared, and only then given its name."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from platform import machine
from tempfile import TemporaryDirectory
from typing import Any, Final

from torch import nn

from paramgen.architectures.processors import read_tokenizer
from paramgen.errors import OptionError, RecipeError, one_line
from paramgen.graphs.graph_json import graph_from_json
from paramgen.initializers import Initializer, initializer_of
from paramgen.output.planning import FolderPlan, plan_folder
from paramgen.output.verify import load_folder
from paramgen.output.write import Written, write_prediction
from paramgen.prediction import Prediction, Requested, prediction_of
from paramgen.prediction.progress import Progress
from paramgen.serving.admission import Limits, peak_within
from paramgen.serving.recipe import Recipe, read_recipe
from paramgen.serving.recipe_terms import checked_recipe_init, foreign_hypernet, with_hypernet, with_network
from paramgen.storage.digest import tensors_sha256

_WHERE: Final = frozenset(("hypernet", "revision", "tokenizer", "init"))
"""What says where something was read and not what it holds."""


def restore_recipe(
    file: Path,
    folder: Path,
    *,
    hypernet: str | None = None,
    tokenizer: str | None = None,
    image_processor: str | None = None,
    target: Path | None = None,
    overwrite: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Make the folder that a recipe is of, whole and the same, or not at all.

    Args:
        file: The recipe.
        folder: Where, as the user typed it.
        hypernet: Where this user has the hypernet, if the recipe has one that does not come with paramgen.
        tokenizer: Where this user has the tokenizer, if there is one beside the weights.
        image_processor: The same for an image processor.
        target: What `checked_target` returned for the folder, where it was called before.
        overwrite: Replace a folder that paramgen wrote.
        verify: Load the folder with its library before it appears under its name.
        progress: Called with the stage, the elements done and all elements.

    Raises:
        RecipeError: It is refused, or other values than its own are made here.
        OptionError: It needs a hypernet, a tokenizer or an image processor that was not named, or none of those named.

    """
    recipe = read_recipe(file)
    beside = {"--tokenizer": tokenizer, "--image-processor": image_processor}
    _refuse_unnamed(file, recipe, {"--hypernet": hypernet, **beside})
    prediction = _prediction(file, recipe, hypernet=hypernet, tokenizer=tokenizer)
    return write_prediction(
        _plan(recipe, prediction, tokenizer=tokenizer, image_processor=image_processor),
        folder,
        target=target,
        overwrite=overwrite,
        verify=verify,
        progress=progress,
        accept=lambda record: _refuse_other(file, recipe, record),
    )


def load_recipe(file: Path, module: nn.Module | None = None) -> nn.Module:
    """Return the network of a recipe, loaded by its library from a folder that is gone afterwards, or fill `module`."""
    with TemporaryDirectory() as place:
        folder = Path(place) / file.stem
        restore_recipe(file, folder)
        return load_folder(folder, module)


def _refuse_unnamed(file: Path, recipe: Recipe, given: Mapping[str, str | None]) -> None:
    """Refuse a recipe that needs what nobody named here, and names of what it does not need."""
    needed = recipe.companion_files
    if (hypernet := foreign_hypernet(recipe.init)) is not None:
        needed["--hypernet"] = hypernet
    for option, name in given.items():
        if option in needed and name is None:
            what = option.removeprefix("--").replace("-", " ")
            raise OptionError(
                f"{file} was made with the {what} {one_line(needed[option])!r}, which is no part of it. Where you have "
                f"it, type: {option} FOLDER"
            )
        if name is not None and option not in needed:
            raise OptionError(f"{file} has nothing that {option} {name} would be for. Leave it out")


def _prediction(file: Path, recipe: Recipe, *, hypernet: str | None, tokenizer: str | None) -> Prediction:
    """Return what is to be made; nothing of a weight is computed yet."""
    architecture, graph = graph_from_json(recipe.graph)
    choice = recipe.choice
    init = recipe.init if choice is None else choice.init
    checked_recipe_init(recipe.init)
    initializer = _initializer(checked_recipe_init(init), hypernet, tokenizer)
    requested = Requested(
        arch=recipe.requested["arch"],
        overrides=recipe.requested["overrides"],
        example_input=recipe.requested["example_input"],
        tokenizer=tokenizer,
    )
    if initializer.runs_network:
        architecture = with_network(architecture, requested)
    prediction = prediction_of(
        replace(architecture, notes=recipe.notes),
        replace(graph, failures=recipe.trace_failures),
        initializer,
        init=recipe.init,
        seed=recipe.seed,
        dtype=recipe.dtype,
        requested=requested,
    )
    if initializer.runs_network:
        peak_within(prediction, Limits())
    prediction = replace(prediction, resolved=replace(prediction.resolved, choice=choice))
    there, here = dict(_identity(recipe.initializer)), dict(_identity(prediction.resolved.describe()))
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key):
            raise RecipeError(
                f"{file} was made by another {one_line(init)!r} than is here: its {one_line(key)} is "
                f"{one_line(repr(there.get(key)))}, here it is {one_line(repr(here.get(key)))}. Made with paramgen "
                f"{one_line(recipe.versions.get('paramgen', '?'))}; get what it was made with."
            )
    if architecture.manifest.elements != recipe.elements:
        raise RecipeError(
            f"{file} says {recipe.elements:,} elements, and its graph has {architecture.manifest.elements:,}. Get it "
            "again."
        )
    return prediction


def _initializer(init: str, hypernet: str | None, tokenizer: str | None) -> Initializer:
    if foreign_hypernet(init) is not None and hypernet is not None:
        init = with_hypernet(init, hypernet)
    initializer = initializer_of(init)
    return initializer if tokenizer is None else initializer.with_tokenizer(tokenizer, read_tokenizer(tokenizer))


def _identity(described: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what an initializer is made of, without where it was read: each entry under its path."""
    for key, value in described.items():
        if key in _WHERE:
            continue
        if isinstance(value, Mapping):
            yield from _identity(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plan(recipe: Recipe, prediction: Prediction, *, tokenizer: str | None, image_processor: str | None) -> FolderPlan:
    return plan_folder(
        prediction,
        max_shard=recipe.requested["max_shard"],
        tokenizer=tokenizer,
        image_processor=image_processor,
    )


def _refuse_other(file: Path, recipe: Recipe, record: Mapping[str, Any]) -> None:
    """Raise RecipeError where what was made is not what the recipe says; nothing has its name yet."""
    for name, digest in recipe.companions.items():
        if record["digests"].get(name) != digest:
            raise RecipeError(
                f"{file} was made with another {one_line(name)!r} beside the weights than is here. Type the tokenizer "
                "and the image processor that it was made with."
            )
    if tensors_sha256(record["tensors"]) == recipe.sha256:
        return
    there = {name: one_line(each) for name, each in recipe.versions.items()} | {"machine": one_line(recipe.machine)}
    here = {"paramgen": version("paramgen"), **record["versions"], "machine": machine()}
    said = ", ".join(f"{name} {each} (here {here.get(name, 'none')})" for name, each in there.items())
    raise RecipeError(
        f"Other values are made here than {file} says, so nothing was written. It was made with {said}; another "
        "version of torch, or another processor, may draw otherwise. Install those versions, or get the folder itself."
    )
