"""The public function that looks at initial weights before training. Importing this loads no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paramgen.api.inputs import inputs_of

if TYPE_CHECKING:
    from torch import nn

    from paramgen.api.types import Diagnosis
    from paramgen.prediction.progress import Progress


def diagnose(
    arch: "str | nn.Module | None" = None,
    *,
    init: str | Sequence[str] | None = None,
    folder: str | Path | Sequence[str | Path] = (),
    data: Any = None,
    what: str | Sequence[str] | None = None,
    seed: int = 0,
    seeds: int = 1,
    examples: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    overrides: Mapping[str, Any] | None = None,
    example_input: Any = None,
    tokenizer: str | None = None,
    progress: "Progress | bool | None" = None,
) -> "Diagnosis":
    """Measure initial weights before a single step of training, and say what is wrong with them.

    >>> diagnosis = paramgen.diagnose("timm:resnet18", init=["library", "he"], example_input="2x3x32x32")
    >>> diagnosis.figure("he", "signal", "chi"), diagnosis.advice

    Args:
        arch: As for `predict`. It may be left out where there is a `folder`, which says what network it is of.
        init: The initializers to put side by side; without any, and without a `folder`, the default initialization,
            which for a live module is what it holds.
        folder: What `write` made, or several of them; each is one more initialization.
        data: As for `compare`; or a tensor of inputs, or a pair of inputs and labels. Without any, Gaussian noise or
            random tokens, and random labels.
        what: The measures: `signal`, `guessing`, `gradient`, `ntk`, `proxies`, which are taken where none is named;
            `plasticity`, `interference`, `relative` and `epsinas`; and those that train the network for some steps:
            `rate`, `laziness`, `drift`, `rank`, `barrier`, `alignment`, `jacobian`, `bias`.
        seed: Of the initial weights, and of noise and random labels.
        seeds: Of how many seeds figures are the mean.
        examples: How many the network is run on; 32 where none is typed.
        out: A new HTML file that shows it, with pictures, and loads nothing. What measures that train found is kept
            beside it until it is written, and the same call goes on where one was killed.
        overwrite: Replace that file.
        overrides: As for `predict`.
        example_input: As for `predict`.
        tokenizer: Of a text, as for `compare`.
        progress: As for `write`; it is called with what is measured, and how many measures are done and to be done.

    """
    from paramgen.diagnosis.diagnosing import Request, diagnose
    from paramgen.diagnosis.kept import kept_beside
    from paramgen.diagnosis.page import checked_page, write_page
    from paramgen.prediction.progress import reporting

    request = Request.of(what, seed=seed, seeds=seeds, examples=examples)
    page = None if out is None else checked_page(Path(out), overwrite=overwrite)
    with reporting(progress, "build") as report, kept_beside(page, trains=request.trains, overwrite=overwrite) as kept:
        diagnosis = diagnose(
            arch,
            (init,) if isinstance(init, str) else init,
            request,
            folders=[Path(folder)] if isinstance(folder, (str, Path)) else [Path(each) for each in folder],
            data=data,
            overrides=overrides,
            example_input=inputs_of(example_input),
            tokenizer=tokenizer,
            kept=kept,
            progress=report,
        )
        if page is not None:
            write_page(diagnosis, page)
    return diagnosis
