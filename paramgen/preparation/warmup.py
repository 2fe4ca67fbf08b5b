"""Training on what formulas make before data are seen (procedural warm-up; Shinnick et al., 2026, arXiv:2601.21725).

A language model learns to close brackets and to continue cellular automata, an image classifier to tell drawn shapes
and fractals apart. What depends on the vocabulary, on the classes or on the statistics of these data goes back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, Final, final

import torch
from torch import nn

from paramgen.comparison.models import ModelUnderTest
from paramgen.comparison.protocol import LENGTH
from paramgen.comparison.tasks import Batch
from paramgen.errors import ArchitectureError, OptionError, one_line
from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.analysis.slot_roles import role_of
from paramgen.preparation import Objective, Preparation, Pupil, Training, preparations
from paramgen.preparation.drawn_pictures import FRACTALS, SHAPES, fractals, shapes
from paramgen.preparation.output_layer import output_slots
from paramgen.preparation.sequences import MAX_BRACKETS, automata, brackets, tokens_needed
from paramgen.slots.init_program import slot_generator

_TASKS: Final = {"text": ("brackets", "automata", "both"), "images": ("shapes", "fractals", "both")}
_TABLES: Final = ("embedding", "position table")  # the roles of what a language model looks up by token or position


@final
@preparations.register("warmup")
@dataclass(frozen=True, kw_only=True)
class Warmup(Preparation):
    """Procedural sequences (brackets, cellular automata) or pictures (shapes, fractals); needs no data."""

    needs_data: ClassVar[bool] = False
    takes_data: ClassVar[bool] = False
    training: ClassVar[Training] = Training(lr=5e-4)

    task: str = "both"  # brackets, automata; shapes, fractals; or both of a kind

    def __post_init__(self) -> None:
        known = sorted({name for names in _TASKS.values() for name in names})
        if self.task not in known:
            raise OptionError(
                f"task is {one_line(repr(self.task))}. Allowed: {', '.join(known)}. Type: --how warmup:both"
            )

    def objective(self, pupil: Pupil) -> Objective:
        """Return next-token or class prediction on examples that each step draws anew."""
        if self.task not in _TASKS[pupil.kind]:
            takes = "text" if pupil.kind == "text" else "images"
            raise OptionError(
                f"{self.task!r} is no task for {pupil.model.name}, which takes {takes}. Allowed: "
                f"{', '.join(_TASKS[pupil.kind])}. Type: --how warmup:{_TASKS[pupil.kind][0]}"
            )
        return self._sequences(pupil) if pupil.kind == "text" else self._pictures(pupil)

    def _sequences(self, pupil: Pupil) -> Objective:
        rows = _answers(pupil)
        pairs = min(MAX_BRACKETS, (rows - 3) // 2)
        if pairs < 1:
            raise ArchitectureError(
                f"{pupil.model.name} has {rows} tokens; {tokens_needed(1)} are needed. Type: --set vocab_size=256"
            )
        length = min(LENGTH, _positions(pupil.model))

        def batches(start: int) -> Iterator[Batch]:
            for step in count(start):
                generator = slot_generator(pupil.seed, f"step {step}", stream="warmup")
                half = {"brackets": pupil.batch, "automata": 0}.get(self.task, pupil.batch // 2)
                one = brackets(half, length, pairs, generator)
                other = automata(pupil.batch - half, length, 2 * pairs, generator)
                tokens, targets = (torch.cat(each) for each in zip(one, other, strict=True))
                yield tokens.to(pupil.device), targets.to(pupil.device)

        def loss(batch: Batch) -> torch.Tensor:
            logits = pupil.logits(batch[0])[:, :-1].flatten(0, 1).float()
            return nn.functional.cross_entropy(logits, batch[1].flatten())

        return Objective(
            module=pupil.module,
            loss=loss,
            batches=batches,
            returned=_of_tokens(pupil.model) | _buffers(pupil.model),
            note="Tables of tokens and positions and the output layer are as they were initialized: the sequences had "
            "other tokens.",
        )

    def _pictures(self, pupil: Pupil) -> Objective:
        answers = _answers(pupil)
        drawn = {"shapes": answers, "fractals": 0}.get(self.task, answers // 2)
        drawn = min(drawn, SHAPES)  # the classes of shapes; those of fractals come behind them
        classes = drawn if self.task == "shapes" else min(answers, drawn + FRACTALS)
        if classes < 2:
            raise ArchitectureError(f"{pupil.model.name} tells {answers} classes apart; at least two are needed.")
        channels, height, width = pupil.model.example.shape[1:]
        shape = (int(channels), int(height), int(width))

        def batches(start: int) -> Iterator[Batch]:
            for step in count(start):
                generator = slot_generator(pupil.seed, f"step {step}", stream="warmup")
                labels = torch.randint(classes, (pupil.batch,), generator=generator)
                pictures = torch.empty(pupil.batch, *shape)
                kinds = labels < drawn
                pictures[kinds] = shapes(labels[kinds], shape, generator)
                pictures[~kinds] = fractals(labels[~kinds] - drawn, shape, pupil.seed, generator)
                yield pictures.to(pupil.device), labels.to(pupil.device)

        def loss(batch: Batch) -> torch.Tensor:
            return nn.functional.cross_entropy(pupil.logits(batch[0]).float(), batch[1])

        return Objective(
            module=pupil.module,
            loss=loss,
            batches=batches,
            returned=output_slots(pupil.model) | _buffers(pupil.model),
            note="The output layer and the statistics of norms are as they were initialized: the drawn pictures had "
            "other classes.",
        )


@torch.no_grad()
def _answers(pupil: Pupil) -> int:
    """Return the number of scores for an example or a token."""
    module = pupil.model.template.eval()
    return int(pupil.model.logits(module, torch.zeros_like(pupil.model.example, device="cpu")).shape[-1])


def _positions(model: ModelUnderTest) -> int:
    """Return how many tokens a model reads at once, as far as its configuration says, or else its example input."""
    config = getattr(model.template, "config", None)
    known = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions"))
    return next((size for size in known if isinstance(size, int)), int(model.example.shape[1]))


def _of_tokens(model: ModelUnderTest) -> frozenset[str]:
    """Return the slots of a language model that are looked up by token or position, and those of its output."""
    flow = Flow(model.graph)
    found = set(output_slots(model))
    for slot, index in model.graph.nodes_of_slot().items():
        role = role_of(model.graph.nodes[index], [flow.op(after) for after in flow.after[index]])
        if role is not None and role.name in _TABLES:
            found.add(slot)
    return frozenset(found)


def _buffers(model: ModelUnderTest) -> frozenset[str]:
    """Return the slots that no optimizer trains, such as running statistics."""
    return frozenset(slot.name for slot in model.architecture.manifest.filled if slot.kind == "buffer")
