"""Make the card of a folder again, from its paramgen.json, config.json and weights, with pictures if requested."""

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from paramgen.architectures import Architecture, ArchitectureRequest, read_config, sources
from paramgen.architectures.inputs import parse_example_input
from paramgen.architectures.module import rebuilt
from paramgen.drawing import draw_svg
from paramgen.errors import CheckError, OptionError, OutputError, ParamgenError
from paramgen.graphs.tracing.fallbacks import graph_of
from paramgen.modelcard.card import Picture, card_text
from paramgen.modelcard.markdown import without_folders
from paramgen.modelcard.pictures.distributions import distributions
from paramgen.modelcard.pictures.layers import layers_of
from paramgen.modelcard.pictures.spectra import spectra
from paramgen.output.verify import quiet_libraries, read_report
from paramgen.registry.repository_names import is_repository
from paramgen.storage.folder import write_bytes
from paramgen.storage.reading import stored
from paramgen.storage.seal import CARD, is_edited
from paramgen.storage.unaltered import stands_in_our_card

FIGURES: Final = "figures"
MAX_CARD_BYTES: Final = 10_000_000
_FEW: Final = 60  # nodes of a graph that is shown without a click
_NO_GRAPH: Final = "There is no picture of its graph: the network could not be built again from config.json alone."
_NO_MATRIX: Final = "There is no picture of its weights: none of them is a matrix."


def write_card(
    folder: Path, *, pictures: bool = False, repo: str | None = None, overwrite: bool = False
) -> dict[str, int]:
    """Write README.md and return every file that was written, with its size in bytes.

    Args:
        folder: What predict wrote.
        pictures: Whether to draw weights, singular values and graph beside it.
        repo: The Hub's repository that the folder goes to: the card says how to load it from there.
        overwrite: Replace a card, and pictures, that somebody else made or edited.

    """
    record = read_report(folder)
    if not record:
        raise CheckError(
            f"{str(folder)!r} has no paramgen.json that a card could be made of. Predict the folder again."
        )
    if repo is not None and not is_repository(repo):
        raise OptionError(f"{repo!r} is no repository of the Hub. Type its owner and its name: --repo org/name")
    config = read_config(folder)
    _refuse_edited(folder, overwrite)
    name = Path(os.path.abspath(folder)).name
    card_text(record, config, name)  # what cannot be described is not drawn either
    made, shown, notes = _pictures(folder, record, config) if pictures else ({}, [], [])
    _refuse_edited_pictures(folder, made, overwrite)
    card = card_text(record, config, name, repo=repo, pictures=shown, notes=notes)
    contents = {**made, CARD: card.encode("utf-8")}
    for file, content in contents.items():
        write_bytes(folder / file, content)
    return {file: len(content) for file, content in contents.items()}


def _refuse_edited(folder: Path, overwrite: bool) -> None:
    """Refuse what is not ours to replace, and links that lead out of the folder."""
    for path in (folder / CARD, folder / FIGURES, *(folder / FIGURES).glob("*")):
        if path.is_symlink():
            raise OutputError(f"{str(path)!r} is a link; a card and its pictures are files. Remove it first.")
    file = folder / CARD
    if overwrite or not file.exists():
        return
    edited = not file.is_file() or file.stat().st_size > MAX_CARD_BYTES
    if edited or is_edited(file.read_text(encoding="utf-8", errors="replace")):
        raise OutputError(f"{str(file)!r} was edited since paramgen made it. Type --overwrite to lose that.")


def _refuse_edited_pictures(folder: Path, made: Mapping[str, bytes], overwrite: bool) -> None:
    """Refuse to replace a picture that is neither the one that our card names nor the same as the new one."""
    for name, content in made.items():
        file = folder / name
        if overwrite or not file.exists() or (file.is_file() and stands_in_our_card(name, file, folder / CARD)):
            continue
        if not file.is_file() or file.stat().st_size != len(content) or file.read_bytes() != content:
            raise OutputError(f"{str(file)!r} was edited since paramgen drew it. Type --overwrite to lose that.")


def _pictures(
    folder: Path, record: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[dict[str, bytes], list[Picture], list[str]]:
    """Return the pictures' files, how the card shows them, and what is missing."""
    made: dict[str, bytes] = {}
    shown, notes = [], []
    layers = layers_of(stored(folder), list(record["tensors"]))
    drawn = distributions(layers) if layers else None
    if drawn is None:
        notes.append(_NO_MATRIX)
    else:
        text = (
            f"The values of each of {len(layers):,} layers, from input to output: bands of quantiles, by kind of layer."
        )
        shown.append(_picture(made, "distributions.png", drawn, "Distributions", text))
    if (stretched := spectra(layers)) is not None:
        text = "The singular values of each layer over their root mean square, by rank; the colour says how deep it is."
        shown.append(_picture(made, "spectra.png", stretched, "Singular values", text))
    graph = _graph(folder, record, config)
    if graph is None:
        notes.append(_NO_GRAPH)
    else:
        count, svg = graph
        title = f"Graph of the network: {count:,} operations and parameters"
        text = f"{title}, with the shapes of what flows between them."
        shown.append(_picture(made, "graph.svg", svg.encode(), title, text, folded=count > _FEW))
    return made, shown, notes


def _picture(
    made: dict[str, bytes], name: str, content: bytes, title: str, text: str, *, folded: bool = False
) -> Picture:
    file = f"{FIGURES}/{name}"
    made[file] = content
    return Picture(file=file, title=title, text=text, sha256=sha256(content).hexdigest(), folded=folded)


def _graph(folder: Path, record: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return the number of nodes and the picture; None where the network cannot be built, followed or drawn."""
    source = str(record["source"])
    with quiet_libraries(source):
        try:
            architecture = _rebuilt(source, folder, record, config)
            graph = None if architecture is None else graph_of(architecture)
            return None if graph is None else (len(graph), draw_svg(graph, title=without_folders(record["spec"])))
        except ParamgenError:
            return None


def _rebuilt(source: str, folder: Path, record: Mapping[str, Any], config: Mapping[str, Any]) -> Architecture | None:
    """Build the network from config.json with its library; a Python file runs only if it is this user's own."""
    typed = (record.get("requested") or {}).get("example_input")
    shapes = parse_example_input(typed) if isinstance(typed, str) and typed and ".py" not in typed else None
    if source == "module":
        return rebuilt(folder, shapes)
    name = str(folder)
    arguments: dict[str, Any] = {}
    if source in ("timm", "torchvision"):
        name = str(config.get("architecture"))
        arguments = config.get("model_args" if source == "timm" else "arguments") or {}
        if not isinstance(arguments, dict):
            return None
        if source == "timm":
            arguments = {"num_classes": config.get("num_classes"), **arguments}
    return sources.get(source)().build(ArchitectureRequest(name=name, overrides=arguments, example=shapes))
