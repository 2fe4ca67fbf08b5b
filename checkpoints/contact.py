"""What a contact sheet shows: held-out concepts from scratch, from the shared start, and from predicted weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from checkpoints.concepts import Concept
from checkpoints.ensemble import Ensemble, Pairs, scaled
from checkpoints.generator import generator
from checkpoints.pictures import edited, pictures
from checkpoints.recipe import Recipe, Start
from checkpoints.sheet import Line, sheet
from checkpoints.train import read_concepts
from checkpoints.writing import write_bytes
from paramgen.api import predict
from paramgen.errors import OptionError, ZooError
from paramgen.storage.reading import stored
from paramgen.zoo import Zoo

SCRATCH: Final = "from scratch"
SHARED: Final = "shared start"
PREDICTED: Final = "predicted"
_TRAIN, _JUDGED = 256, 32


def contact_sheet(
    folder: Path,
    predicted: Path | None,
    out: Path,
    *,
    data: str,
    count: int,
    steps: int,
    report: Callable[[str, int, int], None],
) -> dict[str, dict[str, float]]:
    """Train `count` test concepts for `steps` from each start, draw the sheet, and return the mean distances.

    `predicted` is a pipeline, which is asked by each concept's first phrasing, or has a folder for each concept, called
    by its id, with the weights in safetensors.
    """
    zoo = Zoo.open(folder)
    chosen = [concept for concept in read_concepts(folder) if concept.split == "test"][:count]
    if not chosen:
        raise ZooError(f"{str(folder)!r} has no test concepts.")
    given = pictures(data, _TRAIN + _JUDGED)
    pairs = Pairs(inputs=given, targets=torch.stack([edited(concept, given) for concept in chosen]))
    starts = {SCRATCH: [dict(generator(1).state_dict())] * len(chosen), SHARED: [zoo.start] * len(chosen)}
    if predicted is not None:
        starts[PREDICTED] = [_predicted(predicted, concept, zoo.start) for concept in chosen]
    shown: dict[str, Tensor] = {}
    distances: dict[str, dict[str, float]] = {}
    for place, (name, states) in enumerate(starts.items()):
        report(name, place, len(starts))
        ensemble = _ensemble(states, pairs, steps)
        with torch.no_grad():
            before, began = ensemble.outputs(scaled(given[-_JUDGED:])), ensemble.distance(_TRAIN)
        last = next(iter(ensemble.run(_TRAIN, seed=0)))
        with torch.no_grad():
            shown |= {f"{name}, step 0": before, f"{name}, step {steps}": ensemble.outputs(scaled(given[-_JUDGED:]))}
        distances[name] = {"0": float(began.mean()), str(steps): float(last.distance.mean())}
    _draw(out, chosen, pairs, {name: each for name, each in shown.items() if name != f"{SCRATCH}, step 0"})
    return distances


def _ensemble(states: Sequence[Mapping[str, Tensor]], pairs: Pairs, steps: int) -> Ensemble:
    """Return networks with all weights their own, each from its own state."""
    recipe = Recipe(train=1, validation=0, test=0, start=Start(), form="full", snapshots=(steps,), batch=4)
    own = {name: torch.stack([state[name] for state in states]).clone().requires_grad_() for name in states[0]}
    return Ensemble(generator(), dict(states[0]), own, pairs, replace(recipe, pictures=_TRAIN, judged=_JUDGED))


def _predicted(source: Path, concept: Concept, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if (source / "model_index.json").is_file():
        prediction = predict(init=f"diffusion:{source}", prompt=concept.texts[0])
        found = {name: tensor.float() for name, tensor in prediction.state_dict().items()}
    else:
        found = {entry.name: entry.tensor().float() for entry in stored(source / concept.id)}
    if {name: each.shape for name, each in found.items()} != {name: each.shape for name, each in like.items()}:
        raise OptionError(
            f"{str(source)!r} predicts {concept.id} in another architecture than the zoo's. Train it on this zoo."
        )
    return found


def _draw(out: Path, chosen: Sequence[Concept], pairs: Pairs, shown: Mapping[str, Tensor]) -> None:
    from io import BytesIO

    lines = []
    for number, concept in enumerate(chosen):
        place = number % _JUDGED
        cells = {
            "input": scaled(pairs.inputs[-_JUDGED:][place]),
            "target": scaled(pairs.targets[number, -_JUDGED:][place]),
        }
        cells |= {name: each[number, place] for name, each in shown.items()}
        lines.append(Line(text=concept.texts[0], cells=cells))
    content = BytesIO()
    sheet(lines, list(lines[0].cells)).save(content, format="PNG")
    write_bytes(out, content.getvalue())
