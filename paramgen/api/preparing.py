"""Public functions that make what a training or a prediction begins with.

Weights that were trained a little, a hypernet of a published file, a tokenizer of a text. Importing it loads no torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paramgen.api.inputs import inputs_of

if TYPE_CHECKING:
    from torch import nn

    from paramgen.api.types import Converted, PreparedFolder, TokenizerFolder
    from paramgen.comparison.data_module import Data
    from paramgen.prediction.progress import Progress


def prepare(
    arch: "str | nn.Module",
    folder: str | Path,
    *,
    how: str,
    data: "Data | None" = None,
    steps: int = 1000,
    init: str = "library",
    seed: int = 0,
    lr: float | None = None,
    batch: int | None = None,
    train_examples: int = 50_000,
    length: int | None = None,
    tokenizer: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    example_input: Any = None,
    overwrite: bool = False,
    progress: "Progress | bool | None" = None,
) -> "PreparedFolder":
    """Train the initial weights of `arch` a little and write them into `folder`, whole or not at all.

    >>> prepared = paramgen.prepare("timm:resnet18", "warm", how="warmup", steps=500)
    >>> paramgen.compare("timm:resnet18", "photos", init=["prepared:warm", "library"])

    On a CPU the same call gives the same bytes, on one thread; a call that was killed goes on from its last checkpoint.

    Args:
        arch: As for `predict`.
        folder: New or empty, or written by paramgen before if `overwrite`.
        how: `warmup`, `distill:FOLDER`, `teacher`, `guide:ARCH`, `supermask`, `tickets`, `bonsai`, `triplets:FILE`;
            options as in `"warmup?task=shapes"`.
        data: As for `compare`: images of classes or a text; `warmup` needs none.
        steps: Of training.
        init: The initializer whose weights are trained.
        seed: Of the initial weights, the order of the data and what is drawn.
        lr: The largest learning rate; each way has its own where none is given.
        batch: Examples in a step; each way has its own where none is given.
        train_examples: Images to learn from, at most.
        length: Of the windows of a text, in tokens.
        tokenizer: Of a text, as for `compare`; it is copied beside the weights.
        overrides: As for `predict`.
        example_input: As for `predict`.
        overwrite: Replace a folder that paramgen wrote, and begin anew where other work for it did not end.
        progress: As for `write`; it is called with the loss, and how many steps are done and to be done.

    """
    from paramgen.prediction.progress import reporting
    from paramgen.preparation.preparing import PreparationRequest
    from paramgen.preparation.preparing import prepare as run

    request = PreparationRequest(
        how=how,
        steps=steps,
        init=init,
        seed=seed,
        lr=lr,
        batch=batch,
        train_examples=train_examples,
        length=length,
        tokenizer=tokenizer,
    )
    with reporting(progress, "build") as report:
        return run(
            arch,
            Path(folder),
            request,
            data=data,
            overrides=overrides,
            example_input=inputs_of(example_input),
            overwrite=overwrite,
            progress=report,
        )


def convert(file: str | Path, folder: str | Path, *, overwrite: bool = False) -> "Converted":
    """Turn a published hypernet's checkpoint into a folder for `init="hypernet:FOLDER"`, without running code in it.

    >>> paramgen.convert("ghn3tm8.pt", "ghn3").family
    'ghn3'

    Args:
        file: Of GHN-1, GHN-2, GHN-3 or LoGAH.
        folder: New or empty, or written by `convert` before if `overwrite`.
        overwrite: Replace a folder that `convert` wrote.

    """
    from paramgen.published.convert import convert as convert_file

    return convert_file(Path(file), Path(folder), overwrite=overwrite)


def train_tokenizer(text: str | Path, folder: str | Path, *, vocabulary: int = 8_000) -> "TokenizerFolder":
    """Train a byte-level BPE tokenizer on a text, for a language model that is trained from scratch on it.

    >>> paramgen.train_tokenizer("notes.txt", "words", vocabulary=2000).vocabulary
    2000

    Args:
        text: A text file, or a folder of them (*.txt, *.md).
        folder: New or empty; `tokenizer=` of `predict`, `write` and `compare` takes it.
        vocabulary: Number of tokens; fewer if the text has no more pairs to merge.

    """
    from paramgen.comparison.data.tokenizer_folder import write_tokenizer

    return write_tokenizer(Path(text), Path(folder), vocabulary)
