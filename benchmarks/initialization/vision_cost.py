"""What the networks of `vision` cost: multiplications, seconds per step, and all runs together."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.initialization.vision_networks import SIZE, Network
from paramgen.comparison import Protocol

_CLASSES: Final = 10
_STEPS: Final = 5


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Times are CPU seconds, the least of several."""

    network: Network
    parameters: int
    multiplications: int  # in the forward pass of one image
    step: float  # of the protocol's batch, with optimizer
    test: float  # of one image

    def run(self, protocol: Protocol) -> float:
        """Return the seconds of one run."""
        return protocol.steps * self.step + len(protocol.points) * protocol.test_examples * self.test


def cost_of(network: Network, protocol: Protocol) -> Cost:
    """Measure a network."""
    module = network.factory(_CLASSES)()
    images, labels = torch.randn(protocol.batch, 3, SIZE, SIZE), torch.randint(_CLASSES, (protocol.batch,))
    optimizer = torch.optim.AdamW(module.parameters(), fused=True)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images[:2])

    def step() -> None:
        nn.functional.cross_entropy(_logits(module(images)), labels).backward()
        nn.utils.clip_grad_norm_(module.parameters(), protocol.clip)
        optimizer.step()
        optimizer.zero_grad()

    seconds = _least(step)
    module.eval()
    with torch.no_grad():
        forward = _least(lambda: module(images))
    return Cost(
        network=network,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        multiplications=counter.get_total_flops() // 4,  # two images; a multiplication and an addition are two
        step=seconds,
        test=forward / protocol.batch,
    )


def runs_per_initialization(protocol: Protocol) -> int:
    """Return how often a network is trained from one: every learning rate once, the best for the other seeds."""
    return len(protocol.learning_rates) + protocol.seeds - 1


def table(costs: Sequence[Cost], protocol: Protocol, *, inits: int, data: int) -> str:
    """Return the costs as Markdown, and the hours of everything."""
    runs = runs_per_initialization(protocol) * inits
    lines = [
        f"| network | family | parameters | multiplications | step of {protocol.batch} | {runs} runs |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for cost in costs:
        minutes, note = runs * cost.run(protocol) / 60, " (beyond training)" if cost.network.beyond else ""
        lines.append(
            f"| `{cost.network.name}`{note} | {cost.network.family} | {cost.parameters:,} "
            f"| {cost.multiplications / 1e6:.1f} M | {1e3 * cost.step:.0f} ms | {minutes:.0f} min |"
        )
    seconds = data * runs * sum(cost.run(protocol) for cost in costs)
    lines.append(
        f"\n{len(costs)} networks, {inits} initializations, {data} data sets: {data * runs * len(costs):,} runs, "
        f"{seconds:,.0f} s = {seconds / 3600:.1f} hours on {torch.get_num_threads()} thread(s) as loaded as now. "
        "Initializers that do only what the library does are not run, which saves some."
    )
    return "\n".join(lines)


def _least(action: Any) -> float:
    action()
    found = []
    for _ in range(_STEPS):
        began = time.process_time()
        action()
        found.append(time.process_time() - began)
    return min(found)


def _logits(result: Any) -> Tensor:
    """Return the scores; those of transformers are an attribute."""
    return result if isinstance(result, Tensor) else result.logits
