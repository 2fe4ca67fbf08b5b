"""The training data of a denoiser: normalized blocks of a zoo's checkpoints and embeddings of their prompts."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.diffusion.codec import WeightCodec
from paramgen.diffusion.prompts import KnownPrompts
from paramgen.diffusion.text import MINILM, REVISION, text_encoder
from paramgen.errors import OptionError, ZooError
from paramgen.storage.folder import transaction
from paramgen.zoo import Row, Skipped, Zoo
from training.weights.config import Blocks, WeightsConfig

_FAR: Final = 0.02  # share of the zoo's own texts that would be called far from those of the other tasks


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class CheckpointSplit:
    """Checkpoints of one split, each with the indices of its prompts in `embeddings`."""

    blocks: Float[Tensor, "checkpoints blocks width"]
    texts: tuple[tuple[int, ...], ...]
    embeddings: Float[Tensor, "texts text"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class WeightsData:
    """The data that a run is trained and evaluated on."""

    codec: WeightCodec
    prompts: KnownPrompts
    train: CheckpointSplit
    validation: CheckpointSplit | None
    digest: str  # of the checkpoints, by which a run knows its zoo


def load_data(zoo: Zoo, config: WeightsConfig, kept: Path) -> WeightsData:
    """Return the data of a zoo; codec and embeddings are kept in a folder, as they define the meaning of blocks."""
    rows = [row for row in _chosen(zoo.rows, config) if row.split != "test"]
    states = _read(zoo, rows)
    rows = [row for row in rows if row.id in states]
    split = {name: [row for row in rows if row.split == name] for name in ("train", "validation")}
    if not split["train"]:
        raise OptionError(f"The zoo {str(zoo.folder)!r} has no checkpoint for training that can be used.")
    if zoo.skipped:
        sys.stderr.write(f"{len(zoo.skipped)} checkpoints are skipped; the first, {zoo.skipped[0].id}: ")
        sys.stderr.write(f"{zoo.skipped[0].reason}\n")
    codec = _codec(zoo, [states[row.id] for row in split["train"]], config.blocks, kept / "codec")
    prompts = _prompts(split["train"], kept / "prompts")
    indices = {text: index for index, text in enumerate(prompts.config["texts"])}
    train = _split(split["train"], states, codec, indices, prompts.embeddings.detach())
    return WeightsData(
        codec=codec,
        prompts=prompts,
        train=train,
        validation=_validation(split["validation"], states, codec),
        digest=hashlib.sha256("".join(row.content_sha256 for row in rows).encode()).hexdigest(),
    )


def _read(zoo: Zoo, rows: Sequence[Row]) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of these checkpoints; bad ones are added to the zoo's `skipped`."""
    states = {}
    for row in rows:
        try:
            states[row.id] = zoo.tensors(row.id)
        except ZooError as error:
            zoo.skipped.append(Skipped(row.id, str(error)))
    return states


def _chosen(rows: Sequence[Row], config: WeightsConfig) -> list[Row]:
    """Return all checkpoints, or the last one of each training run."""
    if config.snapshots == "all":
        return list(rows)
    last: dict[tuple[str, int], Row] = {}
    for row in rows:
        before = last.get((row.task, row.seed))
        if before is None or before.steps < row.steps:
            last[row.task, row.seed] = row
    return list(last.values())


def _codec(zoo: Zoo, updates: Sequence[Mapping[str, Tensor]], blocks: Blocks, folder: Path) -> WeightCodec:
    """Return the codec of a run, always as its files have it: values that were just computed may differ in a digit."""
    if not folder.exists():
        _fit(zoo, updates, blocks, folder)
    return WeightCodec.from_pretrained(folder).float()


def _fit(zoo: Zoo, updates: Sequence[Mapping[str, Tensor]], blocks: Blocks, folder: Path) -> None:
    low_rank = zoo.layout.form == "low_rank"
    shared = {name: tensor for name, tensor in zoo.base.items() if name not in zoo.base_state}
    components = min(blocks.components, len(updates))
    codec = WeightCodec(
        {name: list(shape) for name, shape in zoo.shapes.items()},
        blocks.width,
        components,
        form=zoo.layout.form,
        scale=zoo.layout.scale if low_rank else 1.0,
        shared={name: list(tensor.shape) for name, tensor in shared.items()},
    )
    codec.set_shared(shared)
    share = codec.fit(updates, whitening=blocks.whitening)
    sys.stderr.write(f"{len(updates)} checkpoints of {codec.tensors.elements:,} values; blocks keep {share:.1%}\n")
    with transaction(folder, overwrite=False) as partial:
        codec.save_pretrained(partial)


def _prompts(rows: Sequence[Row], folder: Path) -> KnownPrompts:
    """Return all training prompts, with the usual similarity of prompts of different tasks."""
    if not folder.exists():
        _embed_all(rows, folder)
    return KnownPrompts.from_pretrained(folder).float()


def _embed_all(rows: Sequence[Row], folder: Path) -> None:
    tasks: dict[str, str] = {}
    for row in rows:
        tasks |= {text: row.task for text in row.texts}
    texts = list(tasks)
    embeddings = embed(texts)
    number = {task: index for index, task in enumerate(dict.fromkeys(tasks.values()))}
    own = torch.tensor([number[task] for task in tasks.values()])
    others = (embeddings @ embeddings.T).masked_fill(own[:, None] == own[None], -1.0).amax(1)
    near = float(others.quantile(_FAR)) if len(number) > 1 else 0.0
    prompts = KnownPrompts(texts, embeddings.shape[1], round(near, 3))
    prompts.embeddings.copy_(embeddings)
    with transaction(folder, overwrite=False) as partial:
        prompts.save_pretrained(partial)


def embed(texts: Sequence[str]) -> Float[Tensor, "texts text"]:
    """Return the embeddings of many texts, reporting progress on the terminal."""
    encoder, found = text_encoder(MINILM, REVISION), []
    for begin in range(0, len(texts), 500):
        if begin:
            sys.stderr.write(f"{begin} of {len(texts)} texts are embedded\n")
        found.append(encoder(texts[begin : begin + 500]))
    return torch.cat(found)


def _validation(
    rows: Sequence[Row], states: Mapping[str, Mapping[str, Tensor]], codec: WeightCodec
) -> CheckpointSplit | None:
    if not rows:
        return None
    texts: dict[str, int] = {}
    for row in rows:
        for text in row.texts:
            texts.setdefault(text, len(texts))
    return _split(rows, states, codec, texts, embed(list(texts)))


def _split(
    rows: Sequence[Row],
    states: Mapping[str, Mapping[str, Tensor]],
    codec: WeightCodec,
    indices: Mapping[str, int],
    embeddings: Tensor,
) -> CheckpointSplit:
    with torch.no_grad():
        blocks = torch.stack([codec.encode(states[row.id]) for row in rows])
    return CheckpointSplit(
        blocks=blocks, texts=tuple(tuple(indices[text] for text in row.texts) for row in rows), embeddings=embeddings
    )
