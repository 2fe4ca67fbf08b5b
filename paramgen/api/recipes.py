"""Public functions of what is small to send: recipes, and weights in few bits. Importing this loads no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:
    from torch import nn

    from paramgen.api.types import Prediction, Restorable, Unpacked, Written, WrittenRecipe
    from paramgen.prediction.options import PredictOptions
    from paramgen.prediction.progress import Progress
    from paramgen.serving.recipe_writing import Digests


def recipe(
    arch: "str | nn.Module | None",
    file: str | Path,
    *,
    max_shard: int | str = "5GB",
    image_processor: str | None = None,
    overwrite: bool = False,
    progress: "Progress | bool | None" = None,
    **options: "Unpack[PredictOptions]",
) -> "WrittenRecipe":
    """Write, instead of weights, what they are drawn from: a small JSON file that `restore` makes the folder of.

    >>> paramgen.recipe("gpt2-large", "gpt2.json", init="library", seed=1).nbytes

    It holds the network's graph, the initializer, seed and dtype, and the digest of all tensors, which are made here
    once to know it. What takes values from a trained model, runs the network, or keeps what a live module holds cannot
    be drawn again from a recipe, and is refused.

    Args:
        arch: As for `predict`.
        file: A new file that ends in `.json`.
        max_shard: As for `write`.
        image_processor: As for `write`; it is named in the recipe, not stored.
        overwrite: Replace the file.
        progress: As for `write`.
        **options: As for `predict`; with an `endpoint`, the server makes the tensors, and sends their digest. A
            `tokenizer` is named in the recipe, not stored.

    """
    from paramgen.api import predict
    from paramgen.output.planning import plan_folder
    from paramgen.prediction.progress import reporting
    from paramgen.serving.recipe_writing import checked_file, write_recipe

    target = checked_file(Path(file), overwrite=overwrite)
    endpoint = options.pop("endpoint", None)
    with reporting(progress, "build") as report:
        prediction = predict(arch, progress=False, **options)
        tokenizer = prediction.requested.tokenizer
        plan = plan_folder(prediction, max_shard=max_shard, tokenizer=tokenizer, image_processor=image_processor)
        digests = None if endpoint is None else _digests_of(endpoint, prediction)
        return write_recipe(plan, target, progress=report, digests=digests)


def restorable(file: str | Path) -> "Restorable":
    """Return what `restore` would write, how large that is and what it needs; nothing is computed or written.

    >>> paramgen.restorable("gpt2.json").needs

    Args:
        file: As for `restore`.

    """
    from paramgen.serving.restore_planning import restorable

    return restorable(Path(file))


def restore(
    file: str | Path,
    folder: str | Path,
    *,
    hypernet: str | None = None,
    tokenizer: str | None = None,
    image_processor: str | None = None,
    overwrite: bool = False,
    verify: bool = True,
    progress: "Progress | bool | None" = None,
) -> "Written | Unpacked":
    """Make the folder of a recipe: the one that `write` would have written, byte for byte, or none.

    >>> paramgen.restore("gpt2.json", "weights").folder

    Of what `write(quantize="nf4")` wrote, it makes the ordinary folder, with the values that were rounded then.

    Where other values are made than the recipe's digest says, as another version of torch may, a `RecipeError` is
    raised and nothing is left.

    Args:
        file: What `recipe` wrote, or a server sent; or a folder in few bits. It may be anybody's: no code is run, no
            repository and no other file is read for it but those that you name here.
        folder: As for `write`.
        hypernet: A folder or a repository, where the recipe has a hypernet that does not come with paramgen.
        tokenizer: Where the recipe has one.
        image_processor: Where the recipe has one.
        overwrite: Replace a folder that paramgen wrote.
        verify: As for `write`.
        progress: As for `write`.

    """
    from paramgen.prediction.progress import reporting
    from paramgen.serving.recipe_restoring import restore_recipe
    from paramgen.storage.folder import checked_target

    path = Path(folder)
    target = checked_target(path, overwrite=overwrite)
    if Path(file).is_dir():
        _refuse_given(file, {"--hypernet": hypernet, "--tokenizer": tokenizer, "--image-processor": image_processor})
        from paramgen.output.unpacking import unpack_folder

        return unpack_folder(Path(file), path, target=target, overwrite=overwrite, verify=verify)
    with reporting(progress, "build") as report:
        return restore_recipe(
            Path(file),
            path,
            hypernet=hypernet,
            tokenizer=tokenizer,
            image_processor=image_processor,
            target=target,
            overwrite=overwrite,
            verify=verify,
            progress=report,
        )


def _digests_of(endpoint: str, prediction: "Prediction") -> "Digests":
    from paramgen.serving.client import remote_digests

    return remote_digests(prediction, endpoint, tokenizer=prediction.requested.tokenizer)


def _refuse_given(folder: str | Path, given: "Mapping[str, str | None]") -> None:
    from paramgen.errors import OptionError

    for option, name in given.items():
        if name is not None:
            raise OptionError(f"{option} is of recipes, and {str(folder)!r} is a folder in few bits. Leave it out")
