"""The initializations that the benchmarks compare for an unseen task: random, from the zoo, and from its prompt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from checkpoints.generator import TRANSLATOR
from checkpoints.networks import ZooNetwork
from paramgen.diffusion.pipeline import WeightDiffusionPipeline
from paramgen.slots.init_program import slot_generator
from paramgen.zoo import Row, Zoo, restore

State = Mapping[str, Tensor]
NOISE: Final = 0.3  # in units of each value's std over the zoo
RIDGE: Final = 3.0  # added to the diagonal, relative to its mean: best for the edits for validation


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class KnownCheckpoints:
    """The training checkpoints of a zoo, the last of each run with seed 0, with the mean embedding of their prompts."""

    zoo: Zoo
    rows: tuple[Row, ...]
    updates: tuple[State, ...]
    texts: Float[Tensor, "checkpoints text"]  # the mean of each checkpoint's texts

    @classmethod
    def of(cls, zoo: Zoo, pipeline: WeightDiffusionPipeline) -> "KnownCheckpoints":
        """Read the training checkpoints of a zoo, with the embeddings that the pipeline knows."""
        indices = {text: index for index, text in enumerate(pipeline.prompts.config["texts"])}
        rows = last_of(zoo, seeds={0})
        embeddings = pipeline.prompts.embeddings
        texts = torch.stack([embeddings[[indices[text] for text in row.texts]].mean(0) for row in rows])
        return cls(zoo=zoo, rows=rows, updates=tuple(zoo.tensors(row.id) for row in rows), texts=texts)

    def nearest(self, text: Tensor) -> int:
        """Return the index of the checkpoint whose prompts are most similar to an embedding."""
        return int((torch.nn.functional.normalize(self.texts, dim=1) @ text).argmax())


def last_of(zoo: Zoo, *, seeds: set[int]) -> tuple[Row, ...]:
    """Return the last training checkpoint of each task and seed."""
    last: dict[tuple[str, int], Row] = {}
    for row in zoo.rows:
        before = last.get((row.task, row.seed))
        if row.split == "train" and row.seed in seeds and (before is None or before.steps < row.steps):
            last[row.task, row.seed] = row
    return tuple(last.values())


def initializations(
    known: KnownCheckpoints,
    pipeline: WeightDiffusionPipeline,
    prompt: str,
    *,
    network: ZooNetwork = TRANSLATOR,
    denoising_steps: int,
    guidance: float,
) -> dict[str, State]:
    """Return the whole state of every initialization for one prompt."""
    zoo, text = known.zoo, pipeline.embed(prompt)[0]
    nearest = known.updates[known.nearest(text)]
    mean = {name: torch.stack([each[name] for each in known.updates]).mean(0) for name in nearest}
    found: dict[str, State] = {
        "random": {name: tensor.detach() for name, tensor in network.initialized(1).state_dict().items()},
        "base checkpoint": zoo.base_state,
        "mean": _restored(zoo, mean),
        "nearest": _restored(zoo, nearest),
        "nearest and noise": _restored(zoo, _noisy(known, nearest, prompt)),
        "linear": pipeline.restore(pipeline.codec.decode(linear(known, pipeline)(text))),
    }
    (denoised,) = pipeline(
        prompt_embeds=text[None],
        num_inference_steps=denoising_steps,
        guidance_scale=guidance,
        generator=slot_generator(0, "diffusion", stream="0"),
        return_dict=False,
    )[0]
    return {**found, "denoised": denoised}


def linear(known: KnownCheckpoints, pipeline: WeightDiffusionPipeline) -> Callable[[Tensor], Tensor]:
    """Return a ridge regression of a checkpoint's blocks on its prompt: the simplest model that learns from a zoo."""
    blocks = torch.stack([pipeline.codec.encode(update) for update in known.updates])
    centre, middle = known.texts.mean(0), blocks.mean(0)
    rows = (known.texts - centre).double()
    gram = rows @ rows.T
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram, (blocks - middle).flatten(1).double())

    def predict(text: Tensor) -> Tensor:
        return middle + ((text - centre).double() @ rows.T @ weights).float().view_as(middle)

    return predict


def _restored(zoo: Zoo, update: State) -> State:
    return dict(update) if zoo.layout.form == "full" else restore(zoo.base, update, scale=zoo.layout.scale)


def _noisy(known: KnownCheckpoints, update: State, prompt: str) -> State:
    found = {}
    for name, tensor in update.items():
        std = torch.stack([each[name] for each in known.updates]).std(0, correction=0)
        noise = torch.randn(tensor.shape, generator=slot_generator(0, name, stream=prompt))
        found[name] = tensor + NOISE * std * noise
    return found


def stacked(states: Sequence[State]) -> dict[str, Tensor]:
    """Return the states of several networks, stacked and ready to be trained."""
    return {name: torch.stack([state[name] for state in states]).clone().requires_grad_() for name in states[0]}
