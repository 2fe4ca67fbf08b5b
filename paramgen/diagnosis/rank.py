"""Whether the rank of what is learnt rises step by step (Boix-Adsera et al., 2023, arXiv:2306.07042).

The stable rank ||D||_F^2 / ||D||^2 of D, the change of W_K^T W_Q and of W_O W_V of each head, after 1, 10, 50, 100,
200 and 400 steps of Adam; in a network without attention, D is the change of each matrix.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.diagnosis import Measure, Observation, Profile, Threshold, measures
from paramgen.diagnosis.short_training import MAX_TRAINED, ShortTraining, refuse_large
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OptionError
from paramgen.graphs.analysis.attention import Attention, Share, attentions_of
from paramgen.slots.manifest import state_of

RANK_CHECKPOINTS: Final = (1, 10, 50, 100, 200, 400)
ADAM_RATE: Final = 1e-3

Products = Callable[[], list[Tensor]]
"""Returns the matrices whose change is measured."""


@final
@measures.register("rank")
class Rank(Measure):
    """The stable rank of what attention has learnt after 1 to 400 steps of Adam, and at how many of them it rose."""

    __slots__ = ()

    trains: ClassVar[bool] = True
    labels: ClassVar[Mapping[str, str]] = {
        "first": "stable rank of the change, step 1",
        "tenth": "stable rank of the change, step 10",
        "last": "stable rank of the change, step 400",
        "rises": "times it rose, of 5",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {}

    def observe(self, trial: Trial) -> Observation:
        """Train for 400 steps and look at the change now and then."""
        refuse_large(trial, "rank", MAX_TRAINED, "trains the network")
        ranks = ranks_of(trial)
        rises = sum(after > before for before, after in zip(ranks, ranks[1:], strict=False))
        whole = len(ranks) == len(RANK_CHECKPOINTS)
        return Observation(
            figures={
                "first": ranks[0] if ranks else None,
                "tenth": ranks[RANK_CHECKPOINTS.index(10)] if len(ranks) > RANK_CHECKPOINTS.index(10) else None,
                "last": ranks[-1] if whole else None,
                "rises": float(rises) if whole else None,
            },
            profile=Profile(
                layers=tuple(f"step {step}" for step in RANK_CHECKPOINTS[: len(ranks)]), values={"rank": tuple(ranks)}
            ),
        )


def ranks_of(trial: Trial) -> list[float]:
    """Return the mean stable rank of the changes at each checkpoint, up to where training diverged."""
    products = products_of(trial)
    found: list[float] = []
    with trial.kept():
        initial = products()
        if not initial:
            raise OptionError(f"{trial.architecture.spec} has no matrix that learns. Leave rank out: --what signal")
        training, done = ShortTraining(trial, adam=True), 0
        for step in RANK_CHECKPOINTS:
            if not training.run(done, step, lambda _: ADAM_RATE):
                break
            done = step
            trial.tell(f"step {step} of {RANK_CHECKPOINTS[-1]}")
            changes = [after - before for after, before in zip(products(), initial, strict=True)]
            ranks = [rank for change in changes if (rank := stable_rank(change)) is not None]
            if not ranks:
                break
            found.append(sum(ranks) / len(ranks))
    return found


def products_of(trial: Trial) -> Products:
    """Return what makes the products of each head of each attention, or every matrix where there is no attention."""
    attentions = attentions_of(trial.graph, trial.architecture.manifest)
    if not attentions:
        return lambda: [weight.detach().flatten(1).double() for weight in trial.weights.values()]
    state = state_of(trial.module)

    @torch.no_grad()
    def products() -> list[Tensor]:
        return [product for each in attentions for product in _of_heads(each, state)]

    return products


def _of_heads(attention: Attention, state: Mapping[str, Tensor]) -> list[Float[Tensor, "_ _"]]:
    """Return W_K^T W_Q of each head, and W_O W_V where the values read the same."""
    size, shared = attention.head_width, attention.heads // len(attention.key.rows)
    found = []
    for head in range(attention.heads):
        key = _rows(attention.key, head // shared, size, state)
        found.append(key.T @ _rows(attention.query, head, size, state))
        if attention.value is not None and attention.project is not None:
            project = state[attention.project.slot].double()
            project = project.T if attention.project.in_out else project
            mixed = project[:, head * size : (head + 1) * size]
            found.append(mixed @ _rows(attention.value, head // shared, size, state))
    return found


def _rows(share: Share, head: int, size: int, state: Mapping[str, Tensor]) -> Float[Tensor, "head_width in"]:
    weight = state[share.slot].double()
    weight = weight.T if share.in_out else weight
    return weight[share.rows[head] : share.rows[head] + size]


def stable_rank(matrix: Float[Tensor, "_ _"]) -> float | None:
    """Return ||D||_F^2 / ||D||^2; None of what is zero or no number."""
    square = matrix.square().sum()
    if not bool(square > 0) or not bool(square.isfinite()):
        return None
    return float(square / torch.linalg.matrix_norm(matrix, ord=2) ** 2)
