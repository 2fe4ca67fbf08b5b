"""How the learning rate of an initialization is chosen: the one that ends best on the validation data."""

from collections.abc import Mapping, Sequence
from math import inf
from statistics import mean

from paramgen.comparison.protocol import Protocol
from paramgen.comparison.results import Metric, TaskSummary
from paramgen.comparison.run_record import RunRecord, Scores
from paramgen.comparison.statistics import sign

Runs = Mapping[tuple[float, int], RunRecord]
"""The runs of one initialization by learning rate and seed."""


def tuning_seeds(protocol: Protocol) -> tuple[int, ...]:
    """Return the seeds for which every learning rate is tried."""
    return tuple(range(protocol.seeds if protocol.full_grid else 1))


def runs_by_lr(runs: Runs, protocol: Protocol) -> dict[float, list[RunRecord]]:
    """Return the runs of each learning rate tried that did not fail, for the seeds on which rates are compared."""
    seeds = tuning_seeds(protocol)
    return {
        lr: [record for seed in seeds if (record := runs.get((lr, seed))) and record.status != "failed"]
        for lr in sorted({*protocol.learning_rates, *(lr for lr, _ in runs)})
    }


def best_lr(by_lr: Mapping[float, Sequence[RunRecord]], metric: Metric) -> float | None:
    """Return the learning rate that ends best on the validation data, on average; the test data have no say.

    Among equals it is the one with the smaller validation loss, then the smaller one. One that diverged is last.
    """

    def rank(lr: float) -> tuple[float, float, float]:
        ends = [record.validation for record in by_lr[lr]]
        known = [end for end in ends if end is not None]
        if len(known) < len(ends):
            return -inf, -inf, -lr
        value = mean(sign(metric) * compared(end, metric) for end in known)
        return value, -mean(end.loss for end in known), -lr

    tried = [lr for lr in by_lr if by_lr[lr]]
    return max(tried, key=rank) if tried else None


def validation_figures(records: Sequence[RunRecord], task: TaskSummary) -> list[float]:
    """Return what runs reached on the validation data; where they diverged, what guessing does."""
    ends = [record.validation for record in records]
    return [task.guess if end is None else compared(end, task.metric) for end in ends]


def compared(scores: Scores, metric: Metric) -> float:
    """Return what is compared: the accuracy, or the loss, whose exponential is the perplexity."""
    return scores.accuracy if metric == "accuracy" else scores.loss
