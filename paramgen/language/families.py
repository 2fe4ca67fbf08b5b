"""What each axis of each slot means, in GPT-2, Llama and BERT as transformers has them: one table for each family.

The names of axes: `writes` into the residual stream and `reads` from it; `gain` and `shift` of a normalization,
`last_gain` and `last_shift` of the one before the head; `queries`, `keys` and `values` (`fused`: the three behind one
another) are rows of heads, and `mixed` is where an output projection reads them; `units` of the hidden layer and
`summed`, where they are read; `vocabulary`, `positions` and `types` are rows of tables.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

LAYER: Final = re.compile(r"(?<=\.)\d+(?=\.)")
"""Where the name of a slot has the number of its layer."""


@final
@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of language models; in `axes`, `*` stands for the number of a layer."""

    model_type: str
    architecture: str
    axes: Mapping[str, tuple[str, ...]]  # slot -> the name of each of its axes
    sizes: Mapping[str, str]  # a size -> the entry of config.json that has it
    same: tuple[str, ...]  # entries of config.json that change what is computed, at equal sizes
    head: Mapping[str, str]  # slot of the head -> the slot whose tensor it shares where they are tied
    centres: bool = False  # whether normalization subtracts the mean
    normalizes_after: bool = False  # whether the residual stream itself is normalized
    rotary: bool = False

    def axes_of(self, slot: str) -> tuple[str, ...] | None:
        """Return the names of a slot's axes; None for a slot that the family does not have."""
        return self.axes.get(LAYER.sub("*", slot, count=1))


def layer_of(slot: str) -> int | None:
    """Return the number of a slot's layer, from 0; None for a slot outside lists of layers."""
    match = LAYER.search(slot)
    return None if match is None else int(match.group())


def _linear(name: str, out: str, width: str) -> dict[str, tuple[str, ...]]:
    return {f"{name}.weight": (out, width), f"{name}.bias": (out,)}


def _transposed(name: str, width: str, out: str) -> dict[str, tuple[str, ...]]:
    return {f"{name}.weight": (width, out), f"{name}.bias": (out,)}


def _norm(name: str, prefix: str = "") -> dict[str, tuple[str, ...]]:
    return {f"{name}.weight": (f"{prefix}gain",), f"{name}.bias": (f"{prefix}shift",)}


GPT2: Final = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    axes={
        "transformer.wte.weight": ("vocabulary", "writes"),
        "transformer.wpe.weight": ("positions", "writes"),
        **_norm("transformer.h.*.ln_1"),
        **_transposed("transformer.h.*.attn.c_attn", "reads", "fused"),
        **_transposed("transformer.h.*.attn.c_proj", "mixed", "writes"),
        **_norm("transformer.h.*.ln_2"),
        **_transposed("transformer.h.*.mlp.c_fc", "reads", "units"),
        **_transposed("transformer.h.*.mlp.c_proj", "summed", "writes"),
        **_norm("transformer.ln_f", "last_"),
        "lm_head.weight": ("vocabulary", "reads"),
    },
    sizes={
        "width": "n_embd",
        "layers": "n_layer",
        "heads": "n_head",
        "units": "n_inner",
        "vocabulary": "vocab_size",
        "positions": "n_positions",
    },
    same=(
        "activation_function",
        "layer_norm_epsilon",
        "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx",
        "add_cross_attention",
    ),
    head={"lm_head.weight": "transformer.wte.weight"},
    centres=True,
)

LLAMA: Final = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    axes={
        "model.embed_tokens.weight": ("vocabulary", "writes"),
        **_norm("model.layers.*.input_layernorm"),
        **_linear("model.layers.*.self_attn.q_proj", "queries", "reads"),
        **_linear("model.layers.*.self_attn.k_proj", "keys", "reads"),
        **_linear("model.layers.*.self_attn.v_proj", "values", "reads"),
        **_linear("model.layers.*.self_attn.o_proj", "writes", "mixed"),
        **_norm("model.layers.*.post_attention_layernorm"),
        **_linear("model.layers.*.mlp.gate_proj", "units", "reads"),
        **_linear("model.layers.*.mlp.up_proj", "units", "reads"),
        **_linear("model.layers.*.mlp.down_proj", "writes", "summed"),
        **_norm("model.norm", "last_"),
        "lm_head.weight": ("vocabulary", "reads"),
    },
    sizes={
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "shared_heads": "num_key_value_heads",
        "head_width": "head_dim",
        "units": "intermediate_size",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
    },
    same=("hidden_act", "rms_norm_eps", "rope_parameters", "attention_bias", "mlp_bias", "pretraining_tp"),
    head={"lm_head.weight": "model.embed_tokens.weight"},
    rotary=True,
)

BERT: Final = Family(
    model_type="bert",
    architecture="BertForMaskedLM",
    axes={
        "bert.embeddings.word_embeddings.weight": ("vocabulary", "writes"),
        "bert.embeddings.position_embeddings.weight": ("positions", "writes"),
        "bert.embeddings.token_type_embeddings.weight": ("types", "writes"),
        **_norm("bert.embeddings.LayerNorm"),
        **_linear("bert.encoder.layer.*.attention.self.query", "queries", "reads"),
        **_linear("bert.encoder.layer.*.attention.self.key", "keys", "reads"),
        **_linear("bert.encoder.layer.*.attention.self.value", "values", "reads"),
        **_linear("bert.encoder.layer.*.attention.output.dense", "writes", "mixed"),
        **_norm("bert.encoder.layer.*.attention.output.LayerNorm"),
        **_linear("bert.encoder.layer.*.intermediate.dense", "units", "reads"),
        **_linear("bert.encoder.layer.*.output.dense", "writes", "summed"),
        **_norm("bert.encoder.layer.*.output.LayerNorm"),
        **_linear("cls.predictions.transform.dense", "writes", "reads"),
        **_norm("cls.predictions.transform.LayerNorm", "last_"),
        "cls.predictions.bias": ("vocabulary",),
        "cls.predictions.decoder.weight": ("vocabulary", "reads"),
        "cls.predictions.decoder.bias": ("vocabulary",),
    },
    sizes={
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "units": "intermediate_size",
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
        "types": "type_vocab_size",
    },
    same=("hidden_act", "layer_norm_eps", "is_decoder", "add_cross_attention"),
    head={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    centres=True,
    normalizes_after=True,
)

FAMILIES: Final[Mapping[str, Family]] = {family.model_type: family for family in (GPT2, LLAMA, BERT)}
