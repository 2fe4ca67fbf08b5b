"""Networks with values, for those who must run them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures.materialize import materialize
from paramgen.architectures.module import from_module
from paramgen.prediction import prepare


def test_it_computes_what_the_library_computes() -> None:
    """Buffers that no file has (rotary frequencies) included."""
    from transformers import LlamaConfig, LlamaForCausalLM

    overrides: dict[str, Any] = {
        "num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "vocab_size": 50,
    }  # fmt: skip
    prediction = prepare("transformers:llama", init="library", overrides=overrides)
    state, tokens = prediction.state_dict(), torch.arange(12).view(1, 12)
    ours = materialize(prediction.architecture, state)
    theirs = LlamaForCausalLM(LlamaConfig(**overrides)).eval()
    theirs.load_state_dict(state)
    with torch.no_grad():
        assert torch.allclose(ours(tokens).logits, theirs(tokens).logits, atol=1e-5)


def test_ties_stay_and_the_original_is_left_alone() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 3)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.table.weight
            self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]), persistent=False)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.table(tokens) * self.scale)

    module = Tied()
    prediction = paramgen.predict(module, init="library")
    real: Any = materialize(prediction.architecture, dict(prediction))
    assert prediction.architecture.module is not None
    assert real.head.weight is real.table.weight and torch.equal(real.scale, dict(module.named_buffers())["scale"])
    assert all(tensor.is_meta for tensor in prediction.architecture.module.state_dict().values())


def test_a_graph_alone_cannot_run() -> None:
    import dataclasses

    architecture = dataclasses.replace(from_module(nn.Linear(2, 2)), module=None)
    with pytest.raises(paramgen.ParamgenError, match="is not enough to run a network"):
        materialize(architecture, {})
