"""What LoGAH's code repairs in the graphs of Llama networks (arXiv:2405.16287)."""

from typing import Final

from paramgen.graphs.views.published.draft import Draft, Record

LLAMA_CLASS: Final = "transformers.models.llama.modeling_llama.LlamaPreTrainedModel"
_SUM: Final = Record("AddBackward0")


def order_softmax(draft: Draft) -> None:
    """Let the values of attention enter the softmax, and weights leave it alone."""
    for softmax in draft.indices():
        if "softmax" not in draft.records[softmax].name.lower():
            continue
        for source in sorted(draft.predecessors[softmax]):
            if draft.records[source].name.lower().endswith(".weight"):
                draft.disconnect(source, softmax)
        for successor in sorted(draft.successors[softmax]):
            for other in sorted(draft.predecessors[successor] - {softmax}):
                _lead_only_to(draft, other, softmax)


def repair_embedding(draft: Draft, *, tied: bool) -> None:
    """Let the embedding enter the first block by a residual connection of its own."""
    ending = "lm_head.weight" if tied else "embed_tokens.weight"
    embedding = _first(draft, ending)
    if embedding is not None:
        (_repair_tied if tied else _repair_untied)(draft, embedding)


def _repair_untied(draft: Draft, embedding: int) -> None:
    """Put a sum in the embedding's place, and the embedding before it."""
    table = draft.add(draft.records[embedding])
    draft.records[embedding] = _SUM
    draft.connect(table, embedding)
    for successor in sorted(draft.successors[embedding]):
        if draft.records[successor].name.endswith("input_layernorm.weight"):
            draft.disconnect(embedding, successor)
            draft.connect(table, successor)


def _repair_tied(draft: Draft, embedding: int) -> None:
    """Put a sum behind the first block's attention, which the embedding enters too."""
    for source in sorted(draft.predecessors[embedding]):
        draft.disconnect(source, embedding)
    attention = _first(draft, "layers.0.self_attn.o_proj.weight")
    if attention is None:
        return
    followers = sorted(draft.successors[attention])
    norms = [index for index in followers if draft.records[index].name.endswith("input_layernorm.weight")]
    residual = draft.add(_SUM)
    draft.disconnect(embedding, attention)
    draft.connect(embedding, residual)
    for follower in followers:
        if follower not in norms[:1]:
            draft.connect(residual, follower)
    _lead_only_to(draft, attention, residual)


def _first(draft: Draft, ending: str) -> int | None:
    """Return the first node whose name ends so."""
    return next((index for index in draft.indices() if draft.records[index].name.lower().endswith(ending)), None)


def _lead_only_to(draft: Draft, source: int, destination: int) -> None:
    for successor in sorted(draft.successors[source]):
        draft.disconnect(source, successor)
    draft.connect(source, destination)
