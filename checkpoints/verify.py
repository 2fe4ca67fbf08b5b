"""Look at every byte of a zoo, and measure some of its checkpoints again on the pictures that they were measured on."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

import torch

from checkpoints.kinds import kind_of
from checkpoints.recipe import Recipe, Start
from checkpoints.train import RUN
from paramgen.errors import OptionError, ZooError
from paramgen.zoo import Row, Skipped, Zoo

TOLERANCE: Final = 2e-3
"""Of a distance of 0 to 2: other processors round otherwise."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How many checkpoints are whole, which are not, how many were measured again, and which gave something else."""

    whole: int
    skipped: list[Skipped]
    measured: int = 0
    worst: float = 0.0
    different: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what --json prints."""
        return asdict(self)


def verify(folder: Path, *, data: str | None, samples: int, report: Callable[[str, int, int], None]) -> Verified:
    """Read all checkpoints; with `data`, measure `samples` of them again."""
    zoo = Zoo.open(folder)
    whole: list[Row] = []
    for row, _ in zoo.states():
        whole.append(row)
        if len(whole) % 100 == 0:
            report("reading", len(whole), len(zoo.rows))
    if data is None or not samples:
        return Verified(whole=len(whole), skipped=zoo.skipped)
    chosen = random.Random(0).sample(whole, min(samples, len(whole)))
    found = _measured_again(zoo, chosen, data, report)
    return Verified(
        whole=len(whole),
        skipped=zoo.skipped,
        measured=len(found),
        worst=max(found.values(), default=0.0),
        different=tuple(sorted(name for name, off in found.items() if off > TOLERANCE)),
    )


def _measured_again(zoo: Zoo, rows: list[Row], data: str, report: Callable[[str, int, int], None]) -> dict[str, float]:
    """Return how far each checkpoint's first figure is from the one in the table."""
    try:
        run = json.loads((zoo.folder / RUN).read_text(encoding="utf-8"))
        settings, pictures = run["settings"], run["pictures"]
        recipe = Recipe(**settings | {"start": Start(**settings["start"]), "snapshots": tuple(settings["snapshots"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{zoo.folder / RUN} does not say what the zoo was made of. Leave out --data.") from error
    kind = kind_of(recipe, data)
    if hashlib.sha256(kind.pictures.numpy().tobytes()).hexdigest() != pictures:
        raise OptionError(f"--data {data} has other pictures than those that {zoo.folder} was trained on.")
    own = {concept.id: concept for concept in kind.concepts()}
    module = kind.network.made(recipe.seed)
    found = {}
    for done, row in enumerate(rows):
        report("measuring", done, len(rows))
        examples = kind.examples([own[row.task]])
        inputs, wanted = examples.at(torch.arange(kind.trained_on, examples.count))
        with torch.no_grad():
            made = examples.applied(module, zoo.restore(row.id), inputs[0] if inputs.ndim == 5 else inputs)
        name, figure = next(iter(examples.measured(made[None], wanted).items()))
        found[row.id] = abs(float(figure.mean()) - row.metrics[name])
    return found
