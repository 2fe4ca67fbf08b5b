"""A larger language model that computes the same as a smaller one: how each axis grows, or why it cannot.

The paper is "Composable Function-preserving Expansions for Transformer Architectures" (Gesmundo & Maile, 2023,
arXiv:2308.06103). Heads, hidden units and layers grow as there. The width grows in one of two ways, both exact with the
epsilon of the normalization:

- *Padding*, where only normalizations read the residual stream: it gets channels that are zero at first, and is
  multiplied by (now / before)^(1/2), so that its mean square stays; gains are divided by as much. LayerNorm would
  subtract a mean over more channels than before, so the mean is subtracted from what is written, as LayerNorm did
  anyway.
- *Copies* (Net2Net, Chen et al., 2016, arXiv:1511.05641), where something else reads it: BERT adds to what it
  normalized, and a head that is tied to the embedding reads the mean. Every channel is repeated `now / before` times,
  and the weights that read it are shared among the copies, not evenly, so that training tells them apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final, final

import torch
from jaxtyping import Int64
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.language.axes import Axis, axis, copies, first, joined, scaled
from paramgen.language.families import Family, layer_of
from paramgen.language.sizes import Sizes

_PLAIN_ROPE: Final = ("default", "linear", "llama3")  # frequencies do not depend on the width of a head otherwise


@final
@dataclass(frozen=True, kw_only=True)
class Growth:
    """How a model grows: an axis for each name in the family's tables; layers from number `layers` on are new."""

    family: Family
    layers: int
    axes: Mapping[str, Axis]

    def axes_of(self, slot: str) -> tuple[Axis, ...] | None:
        """Return the axes of a slot; None for a slot that the family does not have."""
        names = self.family.axes_of(slot)
        return None if names is None else tuple(self.axes[name] for name in names)

    def is_new(self, slot: str) -> bool:
        """Whether a slot's layer is new."""
        layer = layer_of(slot)
        return layer is not None and layer >= self.layers

    def ends_branch(self, slot: str) -> bool:
        """Whether a slot of a layer writes into the residual stream; in a new layer such slots are zero."""
        names = self.family.axes_of(slot) or ()
        return "writes" in names and layer_of(slot) is not None


def growth_of(family: Family, before: Sizes, now: Sizes, *, rope: Mapping[str, object] | None, scores: bool) -> Growth:
    """Return how a smaller model grows into a larger one.

    Args:
        family: Of both models.
        before: The smaller model.
        now: The larger one.
        rope: `rope_parameters` of the configuration.
        scores: Whether scores are divided by the root of a head's width.

    Raises:
        OptionError: Something shrinks, or no exact growth to these sizes is known; the message names some that have.

    """
    _refuse_shrinking(family, before, now)
    _refuse_impossible(family, before, now, rope or {})
    return Growth(
        family=family,
        layers=before.layers,
        axes={
            **_width(family, before, now),
            **_heads(family, before, now, scores=scores),
            "units": axis(before.units, first(before.units, now.units)),
            "summed": axis(before.units, first(before.units, now.units), silent=True),
            "vocabulary": axis(before.vocabulary, first(before.vocabulary, now.vocabulary)),
            "positions": axis(before.positions, first(before.positions, now.positions)),
            "types": axis(before.types, first(before.types, now.types)),
        },
    )


def _refuse_shrinking(family: Family, before: Sizes, now: Sizes) -> None:
    for size, key in family.sizes.items():
        had, has = getattr(before, size), getattr(now, size)
        if has < had:
            raise OptionError(
                f"{key} shrinks from {had:,} to {has:,}; a growth never does. Type: --set {key}={had}, or more; or "
                "--init weight_selection, which takes weights of a larger model"
            )
    if now.tied and not before.tied:
        raise OptionError(
            "The smaller model's head is a tensor of its own, the larger one's is its embedding. "
            "Type: --set tie_word_embeddings=false"
        )


def _refuse_impossible(family: Family, before: Sizes, now: Sizes, rope: Mapping[str, object]) -> None:
    keys = family.sizes
    if before.layers < now.layers and family.normalizes_after:
        raise OptionError(
            f"{keys['layers']} grows from {before.layers} to {now.layers}, but {family.architecture} normalizes after "
            f"every layer, so a new layer always changes the result. Type: --set {keys['layers']}={before.layers}"
        )
    if _copied(family, now) and now.width % before.width:
        untied = "" if family.normalizes_after else ", or --set tie_word_embeddings=false, where every width is exact"
        raise OptionError(
            f"{keys['width']} grows from {before.width} to {now.width}; exact are multiples of {before.width}. Type: "
            f"--set {keys['width']}={now.width // before.width * before.width} or "
            f"{(now.width // before.width + 1) * before.width}{untied}"
        )
    if now.head_width < before.head_width:  # of GPT-2 and BERT, whose heads divide the width
        raise OptionError(
            f"The heads' width shrinks from {before.head_width} to {now.head_width}; a growth never does. Type: --set "
            f"{keys['heads']}={now.width // before.head_width}"
        )
    if family.rotary and now.head_width != before.head_width:
        _refuse_rotation(before, now, rope)
    least = before.shared_heads * -(-(before.heads // before.shared_heads) // (now.heads // now.shared_heads))
    if least > now.shared_heads:
        raise OptionError(
            f"{before.heads} heads that share keys and values by {before.heads // before.shared_heads} do not fit "
            f"among {now.heads} that share by {now.heads // now.shared_heads}. Type: --set "
            f"{keys['shared_heads']}={before.shared_heads} with a multiple of {before.heads} heads"
        )


def _refuse_rotation(before: Sizes, now: Sizes, rope: Mapping[str, object]) -> None:
    kind = rope.get("rope_type", "default")
    if kind not in _PLAIN_ROPE:
        raise OptionError(
            f"head_dim grows from {before.head_width} to {now.head_width}, and positions of the kind {kind} change "
            f"with it. Type: --set head_dim={before.head_width}"
        )
    if now.head_width % before.head_width:
        raise OptionError(
            f"head_dim grows from {before.head_width} to {now.head_width}; with rotary positions, multiples are exact. "
            f"Type: --set head_dim={before.head_width} or {2 * before.head_width}"
        )


def _copied(family: Family, now: Sizes) -> bool:
    """Whether something but a normalization reads the residual stream."""
    return family.normalizes_after or (family.centres and now.tied)


def _width(family: Family, before: Sizes, now: Sizes) -> dict[str, Axis]:
    had, has = before.width, now.width
    if _copied(family, now):
        every = copies(had, has)
        last = scaled(every, had / has) if now.tied else every  # a tied head sums over the copies
        reads = replace(every, shares=has // had)
        return {
            "writes": every,
            "reads": reads,
            "gain": every,
            "shift": every,
            "last_gain": last,
            "last_shift": last,
        }
    kept, factor = first(had, has), sqrt(has / had)
    gain = axis(had, kept, scale=1 / factor)
    shift = axis(had, kept, silent=True)
    return {
        "writes": replace(axis(had, kept, silent=True, scale=factor), centred=family.centres and has > had),
        "reads": axis(had, kept),
        "gain": gain,
        "shift": shift,
        "last_gain": scaled(gain, 1 / factor) if now.tied else gain,  # a tied head is multiplied by the factor, too
        "last_shift": shift,
    }


def _heads(family: Family, before: Sizes, now: Sizes, *, scores: bool) -> dict[str, Axis]:
    """Order heads so that each still reads its own keys and values, which may be repeated."""
    had, has = before.heads // before.shared_heads, now.heads // now.shared_heads
    queries, shared = [-1] * now.heads, [-1] * now.shared_heads
    times = -(-had // has)  # how often keys and values of one head are needed
    for index in range(before.shared_heads * times):
        shared[index] = index // times
        begin = index // times * had + index % times * has
        members = range(begin, min(begin + has, (index // times + 1) * had))
        queries[index * has : index * has + len(members)] = members
    inside = _inside(family, before.head_width, now.head_width)
    root = sqrt(now.head_width / before.head_width) if scores else 1.0
    rows = _rows(queries, inside, before.head_width)
    shared_rows = _rows(shared, inside, before.head_width)
    count, shared_count = before.heads * before.head_width, before.shared_heads * before.head_width
    # A new dimension of an old head must not change its scores: it is silent in the keys and free in the queries.
    old_head = (torch.tensor(shared) >= 0).repeat_interleave(now.head_width)
    keys = replace(axis(shared_count, shared_rows), silent=(shared_rows < 0) & old_head)
    found = {
        "queries": axis(count, rows, scale=root),
        "keys": keys,
        "values": axis(shared_count, shared_rows),
        "mixed": axis(count, rows, silent=True),
    }
    return {**found, "fused": joined([found["queries"], found["keys"], found["values"]])}


def _inside(family: Family, had: int, has: int) -> Int64[Tensor, " now"]:
    """Return where each dimension of a head comes from; with rotary positions, i rotates by base^(-2 i / width)."""
    if not family.rotary:
        return first(had, has)
    origin = torch.full((2, has // 2), -1)
    origin[:, :: has // had] = torch.arange(had).view(2, -1)
    return origin.flatten()


def _rows(heads: list[int], inside: Int64[Tensor, " now"], head_width: int) -> Int64[Tensor, " rows"]:
    head = torch.tensor(heads).view(-1, 1)
    return torch.where((head < 0) | (inside < 0), -1, head * head_width + inside).flatten()
