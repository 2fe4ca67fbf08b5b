"""The adapter over hypernets: which slots it fills, where it gets the hypernet from, what it says if there is none."""

import gc
import json
import shutil
import weakref
from collections import Counter
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models
from torch import nn

import paramgen
from paramgen.errors import OptionError
from paramgen.graphs.graph_json import graph_to_json
from paramgen.initializers import SHIPPED, initializer_of

shipped = pytest.mark.skipif(
    not (files("paramgen") / "pretrained" / SHIPPED).is_dir(), reason="no hypernet has been trained yet"
)


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3)
        self.norm = nn.BatchNorm2d(12)
        self.token = nn.Parameter(torch.zeros(12))
        self.table = nn.Embedding(9, 12)
        self.head = nn.Linear(12, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        states = self.norm(self.conv(images)).mean((2, 3)) + self.token
        return self.head(states + self.table(torch.zeros(len(images), dtype=torch.long, device=images.device)))


@pytest.fixture
def copied(hypernet_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(hypernet_folder, tmp_path / "copied")


def test_every_slot_has_a_named_rule(hypernet_folder: Path) -> None:
    prediction = paramgen.predict(Mixed(), init=f"hypernet:{hypernet_folder}")
    assert set(prediction.rules) == set(Mixed().state_dict())
    assert {name for name, rule in prediction.rules.items() if rule == "hypernet"} == {
        "conv.weight", "conv.bias", "norm.weight", "norm.bias", "head.weight", "head.bias", "token"
    }  # fmt: skip
    assert prediction.rules["table.weight"] == prediction.rules["norm.running_var"] == "kept"


def test_nothing_holds_the_users_values_when_the_module_is_gone(hypernet_folder: Path) -> None:
    class Values:  # what gives a tensor its memory, and can be watched
        def __init__(self) -> None:
            self.array = np.ones((300, 12), dtype=np.float32)
            self.__array_interface__ = self.array.__array_interface__

    module = Mixed()
    values = Values()
    module.big = nn.Parameter(torch.from_numpy(np.asarray(values)))
    watched = weakref.ref(values)
    prediction = paramgen.predict(module, init=f"hypernet:{hypernet_folder}")
    assert prediction.rules["big"] == "kept" and len(prediction.state_dict()) == len(module.state_dict())
    del module, values
    gc.collect()
    assert watched() is not None, "a prediction yields what the module held"
    del prediction
    gc.collect()
    assert watched() is None


def test_what_it_does_not_cover_is_the_librarys(hypernet_folder: Path) -> None:
    module = Mixed()
    mine = paramgen.predict(module, init=f"hypernet:{hypernet_folder}", seed=4)
    library = paramgen.predict(module, init="library", seed=4).state_dict()
    for name, tensor in mine.state_dict().items():
        same = torch.equal(tensor, library[name])
        assert same if mine.rules[name] != "hypernet" else tensor.shape == library[name].shape
    assert not torch.equal(mine.state_dict()["conv.weight"], library["conv.weight"])


def test_it_is_known_by_its_bytes(hypernet_folder: Path) -> None:
    described = initializer_of(f"hypernet:{hypernet_folder}").describe()
    assert described["sha256"] == sha256((hypernet_folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["./x", "/x", "a b", "x/y/z", "~", "../.."])
def test_what_can_only_be_a_folder_is_not_looked_for_on_the_hub(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("paramgen.hub.download.hf_hub_download", lambda *_, **__: pytest.fail("asked the Hub"))
    with pytest.raises(paramgen.ParamgenError, match="No hypernet|has no config.json"):
        initializer_of(f"hypernet:{name}").describe()


def spoilt(folder: Path, how: str) -> None:
    weights, config = folder / "model.safetensors", folder / "config.json"
    tensors = load_file(weights)
    name = sorted(tensors)[0]
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "not a number":
        tensors[name].view(-1)[0] = torch.nan
        save_file(tensors, weights)
    elif how == "other names":
        tensors["other"] = tensors.pop(name)
        save_file(tensors, weights)
    elif how == "another config":
        config.write_text(config.read_text().replace('"hidden": 16', '"hidden": 32'))
    elif how == "no JSON":
        config.write_text("{")
    elif how == "too large values":
        save_file({key: tensor.abs() * 1e30 + 1e30 for key, tensor in tensors.items()}, weights)


@pytest.mark.parametrize(
    "how", ["truncated", "not a number", "other names", "another config", "no JSON", "too large values"]
)
def test_a_spoilt_hypernet_leaves_nothing(copied: Path, tmp_path: Path, how: str) -> None:
    spoilt(copied, how)
    with pytest.raises(paramgen.ParamgenError) as caught:
        paramgen.write(Mixed(), tmp_path / "out", init=f"hypernet:{copied}")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["copied"]


@shipped
def test_without_an_argument_it_is_the_shipped_one() -> None:
    prediction = paramgen.predict(Mixed(), init="hypernet")
    assert prediction.resolved.describe()["hypernet"] == f"paramgen/{SHIPPED}"
    assert prediction.rules["conv.weight"] == "hypernet"
    assert all(bool(tensor.isfinite().all()) for tensor in prediction.state_dict().values())


@shipped
def test_the_shipped_one_is_small_and_says_what_it_is() -> None:
    folder = Path(str(files("paramgen") / "pretrained" / SHIPPED))
    assert (folder / "model.safetensors").stat().st_size <= 12_000_000
    assert {str(tensor.dtype) for tensor in load_file(folder / "model.safetensors").values()} == {"torch.bfloat16"}
    assert (folder / "README.md").is_file()


GPT2 = "transformers:GPT2LMHeadModel?n_layer=2&n_embd=32&n_head=2&n_positions=64"


@shipped
def test_a_language_model_gets_the_hypernet_for_texts_and_it_is_said() -> None:
    prediction = paramgen.predict(f"{GPT2}&vocab_size=256", init="hypernet", seed=1)
    assert prediction.choice is not None
    assert prediction.choice.init == "hypernet:text" and "for texts" in prediction.choice.reason
    assert set(prediction.rules.values()) == {"hypernet"}
    named = paramgen.predict(f"{GPT2}&vocab_size=256", init="hypernet:text", seed=1).state_dict()
    unresolved = initializer_of("hypernet").resolve(prediction.architecture, prediction.graph)
    again = unresolved.tensors(prediction.architecture, prediction.graph, seed=1)
    for name, tensor in {**prediction.state_dict(), **dict(again)}.items():
        assert torch.equal(tensor, named[name])


@shipped
@pytest.mark.parametrize("at_once", [100, 4096])
def test_rows_of_tokens_are_made_of_their_letters_where_a_tokenizer_tells_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("paramgen.hypernets.supernet._ROWS", at_once)
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["the thin thing and the end\n"] * 9, vocab_size=280, show_progress=False)
    file = tmp_path / "tokenizer.json"
    tokenizer.save(str(file))
    rows = tokenizer.get_vocab_size()
    spec = f"{GPT2}&vocab_size={rows}"
    spelled = paramgen.predict(spec, init=f"hypernet?tokenizer={file}").state_dict()["transformer.wte.weight"]
    table = paramgen.predict(f"{GPT2}&vocab_size=256", init="hypernet").state_dict()["transformer.wte.weight"]
    single = [tokenizer.token_to_id(letter) for letter in "thin"]
    assert torch.equal(spelled[single], table[[ord(letter) for letter in "thin"]])
    long = paramgen.predict(spec, init="library").state_dict()["transformer.wte.weight"]
    assert not (spelled == long).any()  # every row, the last ones, too
    with pytest.raises(OptionError, match=f"has {rows} tokens, the network a vocabulary of {rows - 1}"):
        paramgen.predict(f"{GPT2}&vocab_size={rows - 1}", init=f"hypernet?tokenizer={file}")


@shipped
def test_numbers_without_a_token_are_spelled_with_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    Tokenizer(models.WordLevel({"owl": 0, "sea": 2, "?": 5}, unk_token="?")).save(str(file))
    rows, plain = (
        paramgen.predict(f"{GPT2}&vocab_size=6", init=init).state_dict()["transformer.wte.weight"]
        for init in (f"hypernet?tokenizer={file}", "library")
    )
    assert (rows == plain).all(1).tolist() == [False, True, False, True, True, False]


@shipped
@pytest.mark.parametrize("init", ["hypernet", "hypernet:text"])
def test_filling_nothing_is_an_error_that_says_what_to_type(init: str) -> None:
    with pytest.raises(OptionError, match="fills nothing of .*tokenizer='FOLDER'.*init='library'") as refusal:
        paramgen.predict(f"{GPT2}&vocab_size=280", init=init)
    assert "\n" not in str(refusal.value)
    sizes = "num_hidden_layers=1&hidden_size=32&num_attention_heads=2&intermediate_size=64&vocab_size=256"
    with pytest.raises(OptionError, match="knows no such blocks.*init='library'"):
        paramgen.predict(f"transformers:BertForMaskedLM?{sizes}", init=init)
    with pytest.raises(OptionError, match="'hypernet' fills nothing of"):
        paramgen.predict(nn.Embedding(4, 2), init="hypernet", example_input=torch.zeros(1, 2, dtype=torch.long))


@shipped
def test_what_is_resolved_to_library_is_described_as_that() -> None:
    found = paramgen.predict(f"{GPT2}&vocab_size=280", init="library")
    resolved = initializer_of("hypernet").resolve(found.architecture, found.graph)
    assert "--tokenizer FOLDER" in resolved.describe()["reason"]
    assert resolved.describe()["resolved"] == "library" and resolved.initializer.provenance() == {}
    assert "paramgen/" not in str(resolved.describe())


@shipped
def test_elements_are_counted_by_what_really_fills_them(tmp_path: Path) -> None:
    """A ViT wider than the shared weights: a corner is theirs, what it takes more is scaled, the rest the library's."""
    spec = "timm:vit_tiny_patch16_224?img_size=32&depth=2&num_classes=10"
    library = paramgen.predict(spec, init="library").state_dict()
    written = paramgen.write(spec, tmp_path / "out", init="hypernet", verify=False)
    record = json.loads((tmp_path / "out" / "paramgen.json").read_text())
    counted: Counter[str] = Counter()
    for name, value in written.prediction.state_dict().items():
        entry, drawn = record["tensors"][name], library[name]
        said = entry.get("filled_elements") or {entry["rule"]: value.numel()}
        counted.update(said)
        if value.dim() > 1 and bool(drawn.all()):  # what is drawn at random is met by no accident
            kept, scaled = int((value == drawn).sum()), int((value == drawn / 4).sum())
            found = {"hypernet": value.numel() - kept - scaled, "library, scaled down": scaled, "library": kept}
            assert said == {rule: count for rule, count in found.items() if count}, name
    assert record["by_rule"] == written.to_json()["by_rule"] == dict(counted)
    assert record["by_rule"] == {"library": 445_440, "hypernet": 374_218, "library, scaled down": 221_184}
    assert sum(record["by_rule"].values()) == record["elements"]
    assert record["tensors_by_rule"] == {"hypernet in part": 30, "hypernet": 2}
    card = (tmp_path / "out" / "README.md").read_text()
    for rule, count in record["by_rule"].items():
        assert f"| {count:,} | {100 * count / record['elements']:.1f} % |" in card, rule


@shipped
def test_the_tokenizer_beside_the_weights_is_the_one_that_spells(tmp_path: Path) -> None:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["the thin thing and the end\n"] * 9, vocab_size=270, show_progress=False)
    file = tmp_path / "tokenizer.json"
    tokenizer.save(str(file))
    spec = f"{GPT2}&vocab_size={tokenizer.get_vocab_size()}"
    named = paramgen.predict(spec, init=f"hypernet?tokenizer={file}").state_dict()
    for init in ("hypernet", "auto"):
        prediction = paramgen.predict(spec, init=init, tokenizer=str(file))
        assert all(torch.equal(tensor, named[name]) for name, tensor in prediction.state_dict().items()), init
        assert len(prediction.resolved.describe()["spelling"]) == 64


WIDE: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 192,
    "depth": 2,
    "num_heads": 3,
    "num_classes": 10,
}


@shipped
def test_what_it_does_not_know_can_be_drawn_at_full_size_instead_of_the_librarys() -> None:
    arch, whole = "timm:vit_tiny_patch16_224", "hypernet?rest=statistics"
    small, full, drawn = (
        paramgen.predict(arch, init=init, overrides=WIDE) for init in ("hypernet", whole, "statistics")
    )
    name = "blocks.0.mlp.fc1.weight"
    corner = int(small.shares[name]["hypernet"])
    rows, columns = 384, 128  # of the shared weight
    assert corner == rows * columns and full.shares[name]["hypernet"] == corner
    assert set(small.shares[name]) == {"hypernet", "library, scaled down", "library"}
    assert set(full.shares[name]) == {"hypernet", "statistics"}
    known, own, other = (each.state_dict()[name] for each in (small, full, drawn))
    assert torch.equal(own[:rows, :columns], known[:rows, :columns])
    assert torch.equal(own[rows:], other[rows:]) and torch.equal(own[:, columns:], other[:, columns:])
    assert float(own[:rows, columns:].std()) > 3 * float(known[:rows, columns:].std())


@shipped
def test_the_record_says_what_fills_the_rest() -> None:
    assert "rest" not in initializer_of("hypernet").describe()
    described = initializer_of("hypernet?rest=statistics").describe()
    assert described["rest"] == dict(initializer_of("statistics").describe())


@shipped
def test_a_stem_follows_the_std_of_the_pixels(tmp_path: Path) -> None:
    """timm normalizes images for its vision transformers by 0.5, the shared stem was trained on images by 0.25."""
    full, small = (
        paramgen.predict("timm:vit_tiny_patch16_224", init=init, overrides=WIDE)
        for init in ("hypernet?rest=statistics", "hypernet")
    )
    name = "patch_embed.proj.weight"
    known, own = (each.state_dict()[name] for each in (small, full))
    rows = int(full.shares[name]["hypernet"]) // known[0].numel()
    assert torch.equal(own[:rows], known[:rows] * 2)
    said = "images are normalized by a std of 0.5, so patch_embed.proj.weight is 2 times as large"
    assert said in full.remarks and not small.remarks
    sent = tmp_path / "graph.json"  # what a service is sent
    sent.write_text(graph_to_json(full.architecture, full.graph))
    for other in (timm.create_model("vit_tiny_patch16_224", **WIDE), str(sent)):
        again = paramgen.predict(other, init="hypernet?rest=statistics").state_dict()[name]
        assert torch.equal(again[:rows], own[:rows])


@shipped
def test_where_it_knows_everything_there_is_no_rest() -> None:
    narrow = {**WIDE, "embed_dim": 64, "num_heads": 4, "class_token": False, "global_pool": "avg"}
    one, other = (
        paramgen.predict("timm:vit_tiny_patch16_224", init=init, overrides=narrow).state_dict()
        for init in ("hypernet", "hypernet?rest=statistics")
    )
    one["patch_embed.proj.weight"] *= 2  # of pixels at a std of 0.5
    assert all(torch.equal(one[name], other[name]) for name in one)
