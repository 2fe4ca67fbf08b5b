"""A Gradio Space: choose a network and an initialization, take the folder. It is uploaded alone, beside paramgen."""

import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import gradio

import paramgen
from paramgen.modelcard.loading import loading_lines
from paramgen.output.names import names_of
from paramgen.registry.aliases import ALIASES
from paramgen.serving.allowlist import INITIALIZERS

OFFERED: Final = tuple(name for name in INITIALIZERS if name != "diffusion")  # which needs a prompt
MAX_ELEMENTS: Final = 500_000_000
KEPT: Final = 600  # seconds that a file stays on the Space's disk
UPLOAD: Final = 1_000  # bytes: nothing is uploaded here, but gradio would take anything
MADE: Final = Path(mkdtemp())  # where one prediction is made; gradio keeps a copy of what was answered


def predict(arch: str, init: str, seed: float) -> tuple[str, str]:
    """Return a zip of the folder that predict writes, and the lines that load it."""
    if arch not in ALIASES or init not in OFFERED:  # names only: this never runs a visitor's code
        raise gradio.Error("Choose a network and an initialization from the lists.")
    try:
        prediction = paramgen.predict(arch, init=init, seed=int(seed))
        elements = prediction.architecture.manifest.elements
        if elements > MAX_ELEMENTS:
            raise gradio.Error(f"{arch} has {elements:,} elements; a Space predicts {MAX_ELEMENTS:,} at most.")
        _make_room(4 * elements)
        paramgen.write(arch, MADE / "weights", init=init, seed=int(seed), verify=False)
    except paramgen.ParamgenError as error:
        raise gradio.Error(error.message) from error
    archive = shutil.make_archive(str(MADE / "weights"), "zip", MADE / "weights")
    shutil.rmtree(MADE / "weights")
    layout = prediction.architecture.layout
    return archive, "\n".join(loading_lines(layout.source, layout.config, "weights"))


def _make_room(nbytes: int) -> None:
    """Remove what the last prediction left; refuse where folder, zip and gradio's copy of it do not fit on the disk."""
    shutil.rmtree(MADE, ignore_errors=True)
    MADE.mkdir()
    if shutil.disk_usage(MADE).free < 4 * nbytes:
        raise gradio.Error(f"The disk is full of the files of others. Try again in {KEPT // 60} minutes.")


def page() -> gradio.Blocks:
    """Return the page."""
    sentences = names_of("initializers", None)
    with gradio.Blocks(title="paramgen", delete_cache=(KEPT, KEPT)) as blocks:
        gradio.Markdown(
            "# paramgen\nBetter initial weights for any architecture. The same choice gives the same bytes."
        )
        arch = gradio.Dropdown(sorted(ALIASES), value="vit_ti16", label="Architecture")
        init = gradio.Radio(
            [(f"{name}: {sentences[name]}", name) for name in OFFERED], value="auto", label="Initialization"
        )
        seed = gradio.Number(0, precision=0, minimum=0, label="Seed")
        button = gradio.Button("Predict", variant="primary")
        file = gradio.File(label="The folder, as a zip")
        lines = gradio.Code(language="python", label="Load it, unpacked as weights")
        button.click(predict, [arch, init, seed], [file, lines], concurrency_limit=1)
    return blocks


if __name__ == "__main__":
    page().queue(max_size=16).launch(max_file_size=UPLOAD)
