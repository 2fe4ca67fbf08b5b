"""A language model's output says how frequent tokens are before training, whatever its head is; or one line says no."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

import paramgen
from paramgen.errors import OptionError
from paramgen.graphs.graph_json import graph_to_json
from paramgen.initializers import initializer_of
from paramgen.language.tokenizers import train_tokenizer
from paramgen.prediction import prepare

if TYPE_CHECKING:
    from conftest import Command

WORDS = "the owl and the pussycat went to sea in a beautiful pea-green boat\n" * 40
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 32, "vocab_size": 256} | dict.fromkeys(
    ("bos_token_id", "eos_token_id"), 0
)
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
SIZES |= {"vocab_size": 256, "max_position_embeddings": 32}
SPECIAL = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT-2": ("gpt2", GPT2),
    "GPT-2 with its own head": ("gpt2", GPT2 | {"tie_word_embeddings": False}),
    "Llama": ("transformers:LlamaForCausalLM", SIZES | SPECIAL),
    "Llama, tied": ("transformers:LlamaForCausalLM", SIZES | SPECIAL | {"tie_word_embeddings": True}),
    "GPT-NeoX": ("transformers:GPTNeoXForCausalLM", SIZES | SPECIAL),
    "Phi": ("transformers:PhiForCausalLM", SIZES | SPECIAL),
    "BERT": ("transformers:BertForMaskedLM", SIZES | {"pad_token_id": 0}),
}
TOLERANCE = 0.05  # nats between the frequencies and what the output says, in the mean over positions


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text(WORDS)
    return file


def frequencies(smoothing: float = 1) -> Tensor:
    """Of the bytes of the text, counted here."""
    counts = torch.bincount(torch.tensor(list(WORDS.encode())), minlength=256).double() + smoothing
    return counts / counts.sum()


def divergence(module: Any, wanted: Tensor) -> float:
    """How far the output is from `wanted`, in nats, in the mean over positions."""
    tokens = torch.multinomial(wanted, 64, replacement=True, generator=torch.Generator().manual_seed(0)).view(4, 16)
    with torch.no_grad():
        said = module.eval()(tokens)
    said = getattr(said, "logits", said).double().log_softmax(-1)
    return float((wanted * (wanted.log() - said)).sum(-1).mean())


@pytest.mark.parametrize("case", CASES)
def test_the_output_says_the_frequencies_once_the_librarys_own_loader_has_read_it(
    case: str, text: Path, tmp_path: Path
) -> None:
    arch, overrides = CASES[case]
    kind: Any = AutoModelForMaskedLM if case == "BERT" else AutoModelForCausalLM
    found = {}
    for init in ("library", f"unigram:{text}"):
        folder = tmp_path / init.partition(":")[0]
        paramgen.write(arch, folder, init=init, overrides=overrides)
        found[init.partition(":")[0]] = divergence(kind.from_pretrained(folder), frequencies())
    assert found["unigram"] < TOLERANCE < 1 < found["library"]


@pytest.mark.parametrize("case", CASES)
def test_everything_else_is_what_the_base_makes(case: str, text: Path) -> None:
    arch, overrides = CASES[case]
    prediction = prepare(arch, init=f"unigram:{text}?base=orthogonal", overrides=overrides)
    state, base = prediction.state_dict(), prepare(arch, init="orthogonal", overrides=overrides).state_dict()
    for name, rule in prediction.rules.items():
        changed = int((state[name] != base[name]).sum())
        if rule.startswith("unigram"):
            width = state[name].shape[-1]
            assert 0 < prediction.shares.get(name, {"unigram": state[name].numel()})["unigram"] >= changed
            assert rule == "unigram" or torch.equal(
                state[name].view(-1, width)[:1, :-1], base[name].view(-1, width)[:1, :-1]
            )
        else:
            assert not changed
    assert any(rule.startswith("unigram") for rule in prediction.rules.values())
    assert sum(prediction.by_rule.values()) == prediction.architecture.manifest.elements


class Own(nn.Module):
    """A language model with names of its own, a tied head and norms without a shift."""

    def __init__(self, cap: bool = False) -> None:
        super().__init__()
        self.a, self.cap = nn.Embedding(256, 48), cap
        self.b, self.c = nn.LayerNorm(48, bias=False), nn.Linear(48, 144, bias=False)
        self.d, self.e = nn.Linear(48, 48, bias=False), nn.LayerNorm(48, bias=False)
        self.f = nn.Linear(48, 256, bias=False)
        nn.init.normal_(self.a.weight, std=0.02)
        self.f.weight = self.a.weight

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.a(tokens)
        query, key, value = self.c(self.b(states)).chunk(3, -1)
        states = states + self.d(nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True))
        logits = self.f(self.e(states))
        return logits.tanh() if self.cap else logits


def test_structure_decides_and_not_names(text: Path) -> None:
    module, example = Own(), torch.zeros(2, 16, dtype=torch.int64)
    assert divergence(module, frequencies()) > 1
    module.load_state_dict(paramgen.predict(module, init=f"unigram:{text}", example_input=example).state_dict())
    assert divergence(module, frequencies()) < TOLERANCE
    with pytest.raises(OptionError, match="returns no linear map onto the tokens"):
        paramgen.predict(Own(cap=True), init=f"unigram:{text}", example_input=example)


def test_the_record_and_the_card_say_which_text(text: Path, tmp_path: Path, command: "Command") -> None:
    from hashlib import sha256

    words = ["--arch", "gpt2", *(f"--set={key}={value}" for key, value in GPT2.items())]
    done = command("predict", *words, "--init", f"unigram:{text}?smoothing=0.5", "--out", "start")
    assert done.status == 0, done
    record = json.loads((tmp_path / "start" / "paramgen.json").read_text())
    digest = sha256(WORDS.encode()).hexdigest()
    assert record["initializer"] == {
        "frequencies": "of a text",
        "text": str(text),
        "sha256": digest,
        "tokens": len(WORDS),
        "smoothing": 0.5,
        "of": {"init": "library"},
    }
    card = (tmp_path / "start" / "README.md").read_text()
    assert digest in card and "text.txt" in card and "unigram in part" not in card


def test_frequencies_come_from_a_tokenizer_where_there_is_no_text(tmp_path: Path) -> None:
    train_tokenizer([WORDS], 300).save_pretrained(tmp_path)
    prediction = prepare("gpt2", init="unigram", overrides=GPT2 | {"vocab_size": 300}, tokenizer=str(tmp_path))
    assert "the order of the tokenizer's merges" in " ".join(prediction.remarks)
    described = prediction.initializer.describe()
    assert described == {"frequencies": "guessed", "tokenizer": str(tmp_path), "of": {"init": "library"}}
    column = prediction.state_dict()["transformer.wte.weight"][:, -1]
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    merged = [number for token, number in vocabulary.items() if len(token) > 1 and token != "<|endoftext|>"]
    assert torch.equal(column[merged].argsort(descending=True), torch.arange(len(merged)))
    assert (
        column[vocabulary["e"]] > column[merged].max() and column[vocabulary["\u0120"]] > column[vocabulary["\u0101"]]
    )


def test_what_cannot_be_is_one_line(text: Path, tmp_path: Path) -> None:
    (tmp_path / "zero.txt").write_bytes(b"a\0b")
    (tmp_path / "latin.txt").write_bytes("für".encode("latin-1"))
    (tmp_path / "empty.txt").write_text("")
    cases: list[tuple[str, str, dict[str, Any], str]] = [
        ("torchvision:squeezenet1_1", f"unigram:{text}", {}, "fills nothing of .* no vocabulary of tokens"),
        (
            "transformers:BertForSequenceClassification",
            f"unigram:{text}",
            SIZES,
            "returns no linear map onto the tokens",
        ),
        ("gpt2", f"unigram:{text}", GPT2 | {"vocab_size": 300}, "300 tokens is which is not known. Pass: tokenizer="),
        ("gpt2", "unigram", GPT2, "nothing says how frequent .* Pass: init="),
        ("gpt2", f"unigram:{text}?base=scaled", GPT2 | {"vocab_size": 300}, "Pass: tokenizer="),
        ("gpt2", f"unigram:{tmp_path}/none", GPT2, "There is no file or folder"),
        ("gpt2", f"unigram:{tmp_path}/zero.txt", GPT2, "a byte that is zero"),
        ("gpt2", f"unigram:{tmp_path}/latin.txt", GPT2, "not UTF-8"),
        ("gpt2", f"unigram:{tmp_path}/empty.txt", GPT2, "no text to count"),
        ("gpt2", f"unigram:{text}?smoothing=0", GPT2, "smoothing is 0. Allowed: a number above 0"),
    ]
    for arch, init, overrides, message in cases:
        with pytest.raises(OptionError, match=message) as refusal:
            prepare(arch, init=init, overrides=overrides)
        assert "\n" not in str(refusal.value)


def test_a_graph_alone_is_refused_where_the_network_has_to_run(text: Path, tmp_path: Path) -> None:
    arch, overrides = CASES["Llama"]
    made = prepare(arch, init="library", overrides=overrides)
    (tmp_path / "graph.json").write_text(graph_to_json(made.architecture, made.graph))
    with pytest.raises(OptionError, match="a graph's JSON is not enough"):
        prepare(str(tmp_path / "graph.json"), init=f"unigram:{text}").state_dict()


def test_a_channel_that_is_not_constant_is_refused(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arch, overrides = CASES["Llama, tied"]
    monkeypatch.setattr("paramgen.language.output_bias.CONSTANT", 0.01)
    with pytest.raises(OptionError, match="the channel of its last states that is kept instead changes by"):
        prepare(arch, init=f"unigram:{text}", overrides=overrides).state_dict()


def test_a_control_of_it_is_made(text: Path) -> None:
    prediction = prepare("gpt2", init=f"matched:unigram:{text}", overrides=GPT2)
    assert prediction.rules["transformer.wte.weight"] == "matched"
    assert initializer_of(f"matched:unigram:{text}").describe()["of"]["text"] == str(text)
