"""A recipe makes the folder that predict writes, byte for byte, or nothing; it may be anybody's."""

import json
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from torch import nn

import paramgen
from paramgen.errors import OptionError, ParamgenError, RecipeError
from paramgen.graphs.graph_json import MAX_GRAPH_BYTES
from paramgen.serving.allowlist import checked_init
from paramgen.serving.recipe import MAX_RECIPE_BYTES, read_recipe, recipe_from_data
from paramgen.serving.recipe_terms import checked_recipe_init

GPT2 = "transformers:gpt2?n_embd=32&n_layer=2&n_head=2&n_positions=16"
BYTES = f"{GPT2}&vocab_size=256"
EXAMPLE = torch.zeros(2, 3, 8, 8)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def both(
    tmp_path: Path, arch: str, how: Mapping[str, Any] = {}, **options: Any
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the files that write makes, and those that restore makes of a recipe; the folders have one name."""
    paramgen.write(arch, tmp_path / "here" / "w", verify=False, **options)
    paramgen.recipe(arch, tmp_path / "w.json", **options)
    paramgen.restore(tmp_path / "w.json", tmp_path / "there" / "w", verify=False, **how)
    return contents(tmp_path / "here" / "w"), contents(tmp_path / "there" / "w")


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("timm:test_vit", {"init": "library", "seed": 7}),
        ("timm:test_vit", {"init": "he", "then": ["lowrank:4", "scale:0.5"], "dtype": "bfloat16"}),
        (BYTES, {"init": "hypernet", "max_shard": "30KB"}),
        ("timm:test_vit", {"init": "lsuv?base=rezero", "then": ["prune:synflow?keep=0.5&steps=2"]}),
        pytest.param("timm:test_resnet", {"init": "auto", "overrides": {"num_classes": 7}}, marks=pytest.mark.slow),
        pytest.param(BYTES, {"init": "auto|shift"}, marks=pytest.mark.slow),
        pytest.param(GPT2, {"init": "mimetic", "overrides": {"vocab_size": 300}}, marks=pytest.mark.slow),
        pytest.param(
            "diffusers:AutoencoderKL?block_out_channels=[32]",
            {"init": "orthogonal", "seed": 2**62},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "timm:test_vit",
            {"init": "he", "then": ["prune:magnitude?keep=0.2&rescale=none"]},
            marks=pytest.mark.slow,
        ),
        pytest.param("timm:test_vit", {"init": "he", "then": ["share?keep=0.05"]}, marks=pytest.mark.slow),
    ],
)
def test_the_folder_is_the_same_byte_for_byte(arch: str, options: dict[str, Any], tmp_path: Path) -> None:
    here, there = both(tmp_path, arch, **options)
    assert there == here and len(here) >= 4


def test_a_network_of_ones_own_needs_no_code(own: Path, tmp_path: Path) -> None:
    paramgen.recipe(f"{own}:build", tmp_path / "w.json", init="he", example_input=EXAMPLE)
    paramgen.write(f"{own}:build", tmp_path / "here" / "w", init="he", example_input=EXAMPLE)
    own.unlink()
    paramgen.restore(tmp_path / "w.json", tmp_path / "there" / "w", verify=False)
    assert contents(tmp_path / "there" / "w") == contents(tmp_path / "here" / "w")


def test_it_is_small_and_loads_as_the_folder_does(tmp_path: Path) -> None:
    written = paramgen.recipe("timm:test_vit", tmp_path / "vit.json", init="he", seed=3)
    assert written.nbytes == (tmp_path / "vit.json").stat().st_size < 8000 < written.folder_bytes
    model = paramgen.load(tmp_path / "vit.json")
    wanted = paramgen.predict("timm:test_vit", init="he", seed=3).state_dict()
    assert all(tensor.equal(wanted[name]) for name, tensor in model.state_dict().items())
    twin = paramgen.create("timm:test_vit", init="library")
    assert paramgen.load(tmp_path / "vit.json", twin) is twin
    assert all(tensor.equal(wanted[name]) for name, tensor in twin.state_dict().items())


def test_its_digest_is_that_of_the_folder(tmp_path: Path) -> None:
    from paramgen.storage.digest import tensors_sha256

    written = paramgen.recipe("timm:test_vit", tmp_path / "vit.json", init="he", seed=3)
    paramgen.restore(tmp_path / "vit.json", tmp_path / "w")
    record = json.loads((tmp_path / "w" / "paramgen.json").read_text())
    assert written.recipe.sha256 == tensors_sha256(record["tensors"]) and written.recipe.tensors == len(
        record["tensors"]
    )
    reordered = dict(reversed(record["tensors"].items()))
    assert tensors_sha256(reordered) == written.recipe.sha256
    reordered["head.bias"] = {**reordered["head.bias"], "shape": [1, *reordered["head.bias"]["shape"]]}
    assert tensors_sha256(reordered) != written.recipe.sha256


@pytest.fixture
def words(tmp_path: Path) -> Path:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["the thin thing and the end\n"] * 9, vocab_size=270, show_progress=False)
    (tmp_path / "words").mkdir()
    tokenizer.save(str(tmp_path / "words" / "tokenizer.json"))
    return tmp_path / "words" / "tokenizer.json"


def test_a_tokenizer_is_named_by_who_restores_and_compared(words: Path, tmp_path: Path) -> None:
    name = str(words)
    here, there = both(tmp_path, GPT2, {"tokenizer": name}, init="hypernet", tokenizer=name)
    assert there == here and "tokenizer.json" in here
    with pytest.raises(OptionError, match="was made with the tokenizer .*, which is no part of it"):
        paramgen.restore(tmp_path / "w.json", tmp_path / "out")
    other = ByteLevelBPETokenizer()
    other.train_from_iterator(["quite other quotes\n"] * 9, vocab_size=265, show_progress=False)
    other.save(name)
    with pytest.raises(RecipeError, match="its spelling is"):
        paramgen.restore(tmp_path / "w.json", tmp_path / "out", tokenizer=name)
    paramgen.recipe(GPT2, tmp_path / "he.json", init="he", tokenizer=name, overrides={"vocab_size": 300})
    other.train_from_iterator(["these are still others\n"] * 9, vocab_size=270, show_progress=False)
    other.save(name)
    with pytest.raises(RecipeError, match=r"another 'tokenizer.json' beside the weights"):
        paramgen.restore(tmp_path / "he.json", tmp_path / "out", tokenizer=name)
    assert not (tmp_path / "out").exists()


def test_a_hypernet_is_named_by_who_restores_and_compared(hypernet_folder: Path, own: Path, tmp_path: Path) -> None:
    name, arch = str(hypernet_folder), f"{own}:build"
    options: dict[str, Any] = {"init": f"hypernet:{name}|scale:0.5", "example_input": EXAMPLE}
    here, there = both(tmp_path, arch, {"hypernet": name}, **options)
    assert there == here
    file = tmp_path / "w.json"
    with pytest.raises(OptionError, match="was made with the hypernet .* hypernet='FOLDER'"):
        paramgen.restore(file, tmp_path / "out")
    with pytest.raises(RecipeError, match=r"its of.sha256 is '[0-9a-f]{64}', here it is '[0-9a-f]{64}'"):
        paramgen.restore(file, tmp_path / "out", hypernet="first_light")
    with pytest.raises(OptionError, match="nothing that tokenizer x would be for"):
        paramgen.restore(file, tmp_path / "out", hypernet=name, tokenizer="x")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("weight_selection:donor", "'weight_selection' takes values from elsewhere for up to"),
        ("statistics:table.json", "reads 'path', which a recipe does not hold"),
        ("he|prune:snip?data=photos", "reads 'data', which a recipe does not hold"),
        ("rezero:statistics:table.json", "reads 'path', which a recipe does not hold"),
        ("lsuv?base=hypernet:org/model", "No recipe has 'hypernet:org/model' within another initializer"),
        ("rezero:rezero:he", "No recipe has 'rezero:he' within another initializer"),
        ("rezero?init=lsuv?base=he", "is not served within another one"),
        ("rezero?init=inherit:donor", "'inherit' takes values from elsewhere"),
    ],
)
def test_what_cannot_be_drawn_again_is_refused(
    init: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paramgen.output.planning import plan_folder
    from paramgen.prediction import prepare
    from paramgen.serving.recipe_writing import recipe_of

    plan = plan_folder(prepare("timm:test_vit", init="he"))
    object.__setattr__(plan.prediction, "init", init)  # reading what it names is not the matter here
    with pytest.raises(OptionError, match=said):
        recipe_of(plan)
    assert not (tmp_path / "w.json").exists()


@pytest.mark.parametrize("init", ["mup?base=128", "rezero?init=he?mode=fan_out", "rezero:he", "lsuv?base=he", "lsuv"])
def test_an_option_that_names_an_initializer_is_as_good_as_that_one(init: str) -> None:
    assert checked_recipe_init(init) == init
    assert ":" in init or checked_init(init, ()) == init


def test_what_runs_a_network_of_ones_own_is_refused(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    with pytest.raises(OptionError, match="'lsuv' runs the network, .* only networks that a library knows by their"):
        paramgen.recipe(module, tmp_path / "w.json", init="lsuv", example_input=EXAMPLE)
    assert not (tmp_path / "w.json").exists()


def test_it_says_before_what_it_needs_and_makes(good: dict[str, Any], tmp_path: Path) -> None:
    other = {"versions": {**good["versions"], "torch": "1.0"}, "machine": "z80"}
    (tmp_path / "r.json").write_text(json.dumps({**good, **other}))
    found = paramgen.restorable(tmp_path / "r.json")
    assert found.other_versions == ["torch", "machine"] and not found.needs
    (tmp_path / "good.json").write_text(json.dumps(good))
    done = paramgen.restore(tmp_path / "good.json", tmp_path / "w", verify=False)
    assert found.files.items() <= done.files.items()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["w"]


def test_values_that_a_live_module_holds_are_refused_by_slot(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    with pytest.raises(OptionError, match=r"holds the values of \d+ slots, first '1.weight'.*paramgen.write\(module"):
        paramgen.recipe(module, tmp_path / "w.json", init="he", example_input=EXAMPLE)
    assert not (tmp_path / "w.json").exists()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("good") / "r.json"
    paramgen.recipe("timm:test_vit", file, init="auto", seed=1)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def packed(text: bytes) -> str:
    return b64encode(zlib.compress(text)).decode()


def graph_of(data: Mapping[str, Any]) -> Any:
    return json.loads(zlib.decompress(b64decode(data["graph"])))


def larger(data: dict[str, Any]) -> dict[str, Any]:
    graph = graph_of(data)
    slot = next(slot for slot in graph["slots"] if slot["name"] == "head.bias")
    slot["shape"] = [10**15]
    return {"graph": packed(json.dumps(graph).encode())}


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "another key": (lambda data: {"code": "import os"}, "missing or unknown: code"),
    "another version": (lambda data: {"paramgen_recipe": 2}, "version 2; this paramgen reads 1"),
    "a version that is true": (lambda data: {"paramgen_recipe": True}, "version True"),
    "another seed": (lambda data: {"seed": data["seed"] + 1}, "Other values are made here"),
    "a seed below zero": (lambda data: {"seed": -1}, "'seed' is no number"),
    "a seed that is a text": (lambda data: {"seed": "1"}, "'seed' is no number"),
    "another digest": (lambda data: {"sha256": "0" * 64}, "Other values are made here.*torch"),
    "no digest": (lambda data: {"sha256": "x" * 64}, "no sha256"),
    "another dtype": (lambda data: {"dtype": "float8"}, "dtype is 'float8'"),
    "another type": (lambda data: {"dtype": ["float32"]}, "dtype is"),
    "other elements": (lambda data: {"elements": 5}, "says 5 elements"),
    "a graph cut off": (lambda data: {"graph": data["graph"][:400]}, "cut off"),
    "a graph that is no base64": (lambda data: {"graph": "?"}, "damaged"),
    "a graph that is no zlib": (lambda data: {"graph": b64encode(b"abc").decode()}, "damaged"),
    "a bomb": (lambda data: {"graph": packed(bytes(MAX_GRAPH_BYTES + 1))}, "more than 100,000,000 bytes"),
    "bytes behind the graph": (
        lambda data: {"graph": b64encode(b64decode(data["graph"]) + b"x").decode()}, "cut off, or has more"),
    "no graph": (lambda data: {"graph": packed(b"[]")}, "not a graph"),
    "a graph too large": (larger, "shape|elements"),
    "an initializer from elsewhere": (lambda data: {"init": "inherit:/etc"}, "takes values from elsewhere"),
    "a choice from elsewhere": (
        lambda data: {"initializer": {"resolved": "inherit:/etc", "family": "cnn", "reason": ""}}, "elsewhere|not as"),
    "a choice of what was not chosen": (lambda data: {"initializer": {"resolved": "he"}}, "not as paramgen does it"),
    "an initializer that reads": (lambda data: {"init": "statistics:/etc/passwd"}, "reads 'path'"),
    "a hypernet that nobody named": (lambda data: {"init": "hypernet:org/model@main"}, "hypernet='FOLDER'"),
    "a modifier that reads": (lambda data: {"init": "he|prune:snip?data=/etc"}, "reads 'data'"),
    "an unknown modifier": (lambda data: {"init": "he|rm"}, "No recipe has the modifier 'rm'"),
    "many modifiers": (lambda data: {"init": "he" + "|scale:0.5" * 9}, "9 modifiers"),
    "a tokenizer that nobody named": (
        lambda data: {"requested": {**data["requested"], "companion_files": [["--tokenizer", "org/model"]]}},
        "tokenizer='FOLDER'"),
    "a companion of another kind": (
        lambda data: {"requested": {**data["requested"], "companion_files": [["--push", "org/model"]]}},
        "companion_files"),
    "a companion twice": (
        lambda data: {"requested": {**data["requested"], "companion_files": [["--tokenizer", "a"]] * 2}},
        "companion_files"),
    "shards of another size": (
        lambda data: {"requested": {**data["requested"], "max_shard": "many"}}, "many"),
    "deep overrides": (
        lambda data: {"requested": {**data["requested"], "overrides": json.loads("[" * 70 + "]" * 70)}}, "deep"),
    "long notes": (lambda data: {"notes": ["x" * 20_000]}, "no text of at most"),
    "many notes": (lambda data: {"notes": [""] * 2000}, "no list of at most"),
    "versions that are no texts": (lambda data: {"versions": {"torch": 2}}, "no text"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_is_one_line_and_leaves_nothing(name: str, good: dict[str, Any], tmp_path: Path) -> None:
    change, said = HOSTILE[name]
    (tmp_path / "r.json").write_text(json.dumps({**good, **change(good)}))
    with pytest.raises(ParamgenError, match=said) as caught:
        paramgen.restore(tmp_path / "r.json", tmp_path / "out", verify=False)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is no JSON"), (b"[1]", "no JSON object"), (b"{}", "'paramgen_recipe' is missing"),
     (b" " * (MAX_RECIPE_BYTES + 1), "allowed are"), (b"[" * 100_000, "no JSON|deep")],
)  # fmt: skip
def test_a_file_that_is_no_recipe_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(RecipeError, match=said):
        read_recipe(tmp_path / "r.json")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.json")
    with pytest.raises(RecipeError, match="no regular file"):
        paramgen.restore(tmp_path / "r.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_truncated_file_is_refused(good: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(good, indent=1)
    for length in range(0, len(text) - 1, 97):
        (tmp_path / "r.json").write_text(text[:length])
        with pytest.raises(RecipeError):
            read_recipe(tmp_path / "r.json")


def test_every_key_is_needed_and_what_is_read_is_what_was_written(good: dict[str, Any]) -> None:
    assert recipe_from_data(good).to_json() == good
    for key in good:
        with pytest.raises(RecipeError, match=key):
            recipe_from_data({name: value for name, value in good.items() if name != key})


def test_the_command_writes_and_restores(command: Any, tmp_path: Path) -> None:
    made = command(
        "predict", "--arch", "timm:test_vit", "--init", "he", "--as", "recipe", "--out", "vit.json", "--json"
    )
    assert made.status == 0, made.err
    said = json.loads(made.out)
    assert said["bytes"] == (tmp_path / "vit.json").stat().st_size and said["by_rule"]["he"]
    restored = command("restore", "vit.json")
    assert restored.status == 0 and "timm loaded it" in restored.out, restored.err
    assert paramgen.check(tmp_path / "vit").tensors == said["tensors"]
    again = command("restore", "vit.json")
    assert again.status == 2 and "not empty" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--as", "zip"], "Unknown --as 'zip'. Allowed: folder and recipe"),
        (["--as", "recipe", "--dry-run"], "--dry-run is about a folder"),
        (["--as", "recipe", "--push", "me/it"], "--push is about a folder"),
        (["--as", "recipe", "--out", "weights"], "Allowed for a recipe: .json"),
        (["--as", "recipe", "--out", "there.json"], "exists"),
        (["--as", "recipe", "--quantize", "nf4"], "--quantize is about a folder"),
    ],
)
def test_the_command_refuses_in_one_line(arguments: list[str], said: str, command: Any, tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("{}")
    done = command("predict", "--arch", "timm:test_vit", *arguments)
    assert done.status == 2 and said in done.err.replace("\n", " ") and not done.out
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]


def test_the_command_says_what_is_wrong_with_a_recipe(command: Any, good: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({**good, "sha256": "0" * 64}))
    done = command("restore", "r.json", "--out", "w")
    assert done.status == 2 and done.err.count("\n") == 1 and "Other values are made here" in done.err
    assert command("restore", "absent.json", "--out", "w").status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.slow
def test_three_gigabytes_are_less_than_a_hundred_kilobytes(tmp_path: Path) -> None:
    written = paramgen.recipe("gpt2-large", tmp_path / "large.json", init="library", dtype="bfloat16")
    assert written.folder_bytes > 1.5e9 and written.nbytes < 100_000
