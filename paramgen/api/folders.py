"""Public functions of a folder that was written: load, check, describe and push it. Importing this loads no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from paramgen.api.types import Checked, Prediction, Pushed
    from paramgen.output.verify import Memory
    from paramgen.prediction.progress import Progress


def load(folder: str | Path, module: "nn.Module | None" = None) -> "nn.Module":
    """Return the module that `folder` describes with its weights, loaded by its library; or load into `module`.

    >>> model = paramgen.load("weights")

    A recipe, as `recipe` writes it, can stand for the folder: its weights are made and compared with its digest.
    """
    path = Path(folder)
    if path.suffix == ".json" and path.is_file():
        from paramgen.serving.recipe_restoring import load_recipe

        return load_recipe(path, module)
    from paramgen.output.verify import load_folder

    return load_folder(path, module)


def masked(module: "nn.Module", source: "str | Path | Prediction") -> "nn.Module":
    """Constrain `module` in training by the masks of a folder or of a prediction, and return it.

    What `--then prune` made zero stays zero; what `--then freeze` does not train keeps its initial values, whatever
    the optimizer and its weight decay do. It is done by parametrizations of torch, so parameters have other names in
    the state dict until `unmasked` makes them ordinary ones again.

    >>> model = paramgen.masked(paramgen.load("sparse"), "sparse")

    Args:
        module: With the initial weights in it.
        source: The folder, or what `predict` returned, all tensors of which were read, as `state_dict` does.

    Raises:
        CheckError: The folder has no masks.
        OptionError: They are not of this architecture, there are none, or the module is constrained already.

    """
    from paramgen.output.constraints import hold_masks

    hold_masks(module, Path(source) if isinstance(source, str) else source)
    return module


def shared(module: "nn.Module", source: "str | Path | Prediction") -> "nn.Module":
    """Let the weights of `module` share numbers in training, as `--then share` made them, and return it.

    All weights that take part are then made of one parameter, the memory, which is trained instead of them. So an
    optimizer is to be made behind it. Weights move as far as without sharing at the same learning rate. `unmasked`
    makes them ordinary parameters again.

    >>> model = paramgen.shared(paramgen.load("few"), "few")

    Args:
        module: With the initial weights in it.
        source: The folder, or what `predict` returned, all tensors of which were read, as `state_dict` does.

    Raises:
        CheckError: The folder has no memory.
        OptionError: The module has other weights than the memory makes, there is none, or it is constrained already.

    """
    from paramgen.output.constraints import hold_shared

    hold_shared(module, Path(source) if isinstance(source, str) else source)
    return module


def unmasked(module: "nn.Module") -> "nn.Module":
    """Make what `masked` or `shared` constrained ordinary parameters again, with the values that they have.

    It returns the module, which can be saved then.

    >>> paramgen.unmasked(model).save_pretrained("trained")
    """
    from paramgen.modifiers.constraints import release

    release(module)
    return module


def rescale_(module: "nn.Module", std: "float | str | Path | Mapping[str, float]") -> dict[str, float]:
    """Give each matrix of a module in training its target std back, in place, and return the factors by name.

    Called every hundred steps or so, this is target variance rescaling (Owen et al., 2025, arXiv:2503.17500). Tables of
    embeddings, norms and biases are left alone. `compare(rescale_every=100)` does it for every initialization.

    >>> factors = paramgen.rescale_(model, 0.01)  # the paper's target
    >>> factors = paramgen.rescale_(model, "weights")  # the std that each had in its initial weights

    Args:
        module: In training. What an optimizer remembers of it is left as it is.
        std: The target, positive: one for all, or the folder of initial weights, or stds by name.

    Raises:
        OptionError: The target is no positive number, or the folder is of another architecture.
        CheckError: The folder cannot be read.

    """
    from paramgen.output.rescaling import rescale, stds_of

    return rescale(module, stds_of(Path(std)) if isinstance(std, (str, Path)) else std)


def check(folder: str | Path, *, memory: "Memory" = "auto") -> "Checked":
    """Load `folder` with its library and compare every tensor; raise a `CheckError` at the first difference.

    >>> paramgen.check("weights").loaded_by
    'transformers'
    """
    from paramgen.output.verify import check_folder

    return check_folder(Path(folder), memory=memory)


def card(
    folder: str | Path, *, pictures: bool = False, repo: str | None = None, overwrite: bool = False
) -> dict[str, int]:
    """Make the model card of `folder` again, and return every file that was written, with its size in bytes.

    >>> list(paramgen.card("weights", pictures=True))
    ['figures/distributions.png', 'figures/spectra.png', 'figures/graph.svg', 'README.md']

    Args:
        folder: What `write` made.
        pictures: Draw weights, singular values and graph beside it.
        repo: The Hub's repository, `owner/name`, from which the card is to say how to load it.
        overwrite: Replace a card, and pictures, that were edited.

    """
    from paramgen.output.card import write_card

    return write_card(Path(folder), pictures=pictures, repo=repo, overwrite=overwrite)


def push(
    folder: str | Path,
    repo: str,
    *,
    public: bool = False,
    revision: str | None = None,
    pr: bool = False,
    message: str | None = None,
    progress: "Progress | bool | None" = None,
) -> "Pushed":
    """Push what `write` made, a hypernet or a pipeline to the Hugging Face Hub: in one commit, or not at all.

    >>> paramgen.push("weights", "me/vit-weights").url
    'https://huggingface.co/me/vit-weights'

    Args:
        folder: Of one of these. It is checked first, as by `check`.
        repo: `owner/name` of a model repository, made if there is none.
        public: Whether everybody may see it; a new repository is private otherwise.
        revision: A branch, made if there is none.
        pr: Open a pull request instead of changing the branch.
        message: Of the commit.
        progress: As for `write`; it is called with what is done, and the bytes that are done and to be done.

    """
    from paramgen.hub.commit import Target
    from paramgen.output.push import push_folder
    from paramgen.prediction.progress import reporting

    target = Target(repo=repo, public=public, revision=revision, pr=pr)
    with reporting(progress) as report:
        return push_folder(Path(folder), target, message=message, progress=report)
