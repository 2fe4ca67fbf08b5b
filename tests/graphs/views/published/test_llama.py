"""LoGAH's rules for Llama."""

import pytest

from paramgen.architectures import resolve
from paramgen.graphs.views.published.view import published_graph, published_view


@pytest.mark.parametrize(("tied", "nodes"), [(False, 49), (True, 48)])  # as LoGAH's own code draws it
def test_llama(tied: bool, nodes: int) -> None:
    sizes = {"vocab_size": 500, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    made = resolve("transformers:LlamaForCausalLM", {**sizes, **heads, "tie_word_embeddings": tied})
    assert made.module is not None and made.example is not None
    graph = published_graph(made.module, made.manifest, made.example, family="logah_gpt")
    words = list(graph.primitives)
    assert len(graph) == nodes
    assert [words.count(word) for word in ("rmsnorm", "gate", "rot_emb", "msa", "sum")] == [7, 3, 6, 3, 6]
    view = published_view(made.module, made.manifest, made.example, family="logah_gpt", cutoff=250)
    assert view.initializer_range == 0.02
    assert {request.slot for request in view.requests} == {slot.name for slot in made.manifest.filled}
