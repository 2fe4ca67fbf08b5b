"""A comparison as Markdown: the answer, a table for each architecture, and how it was measured."""

from collections.abc import Sequence

from paramgen.comparison.outcome import Comparison
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.results import TaskSummary
from paramgen.comparison.table import header, rows


def markdown(comparison: Comparison) -> str:
    """Return conclusion, tables and protocol."""
    lines = ["# Which initialization trains best?", ""]
    lines += [f"{sentence}  " for sentence in comparison.conclusion]
    for architecture in comparison.architectures:
        lines += ["", f"## {architecture.name} on {comparison.data.name}", ""]
        lines += _lines([header(architecture), *rows(architecture)])
        lines += [""] + [f"- {note}" for note in architecture.notes]
    return "\n".join([*lines, *(f"- {note}" for note in explanations(comparison))]) + "\n"


def explanations(comparison: Comparison) -> list[str]:
    """Say how it was measured."""
    protocol, task = comparison.protocol, comparison.architectures[0].task
    return [
        _training(protocol, task),
        _optimizer(protocol),
        _learning_rates(protocol, task),
        f"± is the standard deviation over {protocol.seeds} seeds. A difference is statistically significant if its "
        "95 % interval leaves out zero (Welch's t-test, degrees of freedom after Welch and Satterthwaite); in brackets "
        "the interval of the differences seed by seed.",
        "Step 0 is the initialization itself, before any training. Batch norms are given the statistics of a few "
        "training batches for each test until their running statistics have forgotten what the constructor set; after "
        "that they are tested as training left them.",
        *comparison.data.notes,
    ]


def _training(protocol: Protocol, task: TaskSummary) -> str:
    windows = "" if task.length is None else f" windows of {task.length}"
    return (
        f"From every initialization the network was trained for {protocol.steps} steps of {protocol.batch}{windows} "
        f"{task.unit}s out of {task.train:,} and tested on {task.test:,} others, on which nothing was chosen; the same "
        "seed gives every initialization the same data in the same order, without augmentation."
    )


def _optimizer(protocol: Protocol) -> str:
    shape = "then falls to zero along a cosine" if protocol.schedule == "cosine" else "then stays"
    return (
        f"Optimizer: AdamW, weight decay {protocol.decay:g}, gradients clipped at norm {protocol.clip:g}; the "
        f"learning rate rises for {protocol.warmup:.0%} of the steps, {shape}.{_rescaling(protocol)}{_sparse(protocol)}"
    )


def _rescaling(protocol: Protocol) -> str:
    if protocol.rescale_every is None:
        return ""
    target = "of its initial weights" if protocol.rescale_std is None else f"{protocol.rescale_std:g}"
    return (
        f" After every {protocol.rescale_every} steps each matrix was rescaled to the std {target} (target variance "
        "rescaling, Owen et al., 2025); tables, norms and biases were not."
    )


def _sparse(protocol: Protocol) -> str:
    if protocol.zeros is None:
        return ""
    return (
        " A soft threshold on all weights of linear layers and convolutions rose in training until "
        f"{protocol.zeros:.4g} of them were zero (ST-3, Vanderschueren & De Vleeschouwer, 2023), for every "
        "initialization alike."
    )


def _learning_rates(protocol: Protocol, task: TaskSummary) -> str:
    tried = ", ".join(f"{lr:g}" for lr in protocol.learning_rates)
    several = len(protocol.learning_rates) > 1
    wider = ", and more of them beyond the edge where the best one lay there" if several else ""
    chosen = "all seeds" if protocol.full_grid else "seed 0; the other seeds were trained at the best one"
    by_layer = (
        ""
        if protocol.mup_base is None
        else f" They are muP's: those of hidden and output matrices were multiplied by {protocol.mup_base} / fan-in "
        "(Yang et al., 2022, table 3, Adam), and weight decay divided by it, for every initialization."
    )
    return (
        f"Learning rates tried for every initialization alike: {tried}{wider}, on {chosen}. The best is the one with "
        f"the best end on {task.validation:,} {task.unit}s that were kept back from the training data for that."
        f"{by_layer}"
    )


def _lines(table: Sequence[Sequence[str]]) -> list[str]:
    first, *rest = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in table)
    return [first, "|" + "---|" * len(table[0]), *rest]
