"""Cards say what is true of a folder, in a form that the Hub reads, whatever anybody's names are made of."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import paramgen
from paramgen.modelcard.card import card_text, command_of
from paramgen.modelcard.card_data import known_of, metadata
from paramgen.modelcard.markdown import cell, code, fenced, prose, shell, without_folders
from paramgen.registry.overrides import parse_overrides
from paramgen.storage.seal import is_edited

HOSTILE = [
    "a\n---\nlicense: mit\n---\n", "`code` ``more``", "```\n# Title", "| cell | <script>alert(1)</script>",
    "$(rm -rf ~)", "' \" \\ ; & $HOME", "[link](javascript:x) ![i](x)", "\x1b[31m\u202ered", "\udcff.bin",
    "{{ 7 * 7 }} {% x %}", "*a* _b_ ~~c~~", "> a", "https://evil.example www.evil.example a@b.c", "-- <!-- x", "",
]  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "paramgen": "0.1.0",
        "versions": {"torch": "2.13.0"},
        "source": "timm",
        "spec": "timm:resnet18",
        "requested": {"arch": "timm:resnet18", "overrides": {}, "example_input": None, "max_shard": "5GB"},
        "graph": {"sha256": "ab" * 32, "nodes": 90, "unreachable": []},
        "init": "he",
        "initializer": {},
        "seed": 3,
        "dtype": None,
        "parameters": 20,
        "tied": {"c": "b"},
        "tensors": {name: {"rule": rule, "shape": [2, 5], "sha256": "cd" * 32} for name, rule in
                    (("a", "he"), ("b", "library"), ("c", "library"))},
    }  # fmt: skip
    return plain | changes


CONFIG = {"architecture": "resnet18", "num_classes": 10}


def test_the_metadata_and_the_text_of_a_plain_folder() -> None:
    card: Any = ModelCard(card_text(record(), CONFIG, "out"))
    assert card.data.to_dict() == {
        "library_name": "timm",
        "license": "apache-2.0",
        "pipeline_tag": "image-classification",
        "tags": ["paramgen", "weight-initialization", "resnet18"],
    }
    lines = card.text.splitlines()
    first = next(line for line in lines if line and not line.startswith("#"))
    assert first.startswith("**These are initial weights, not a trained model.**")
    assert "model = timm.create_model('local-dir:out', pretrained=True)" in lines
    assert "paramgen predict --arch timm:resnet18 --init he --seed 3 --out out" in lines
    assert "| `he` | 1 | 10 | 50.0 % |" in lines and "| `library` | 1 | 10 | 50.0 % |" in lines
    assert "nothing was measured" in card.text


def test_a_repository_is_where_it_is_loaded_from() -> None:
    assert "timm.create_model('hf-hub:org/name', pretrained=True)" in card_text(
        record(), CONFIG, "out", repo="org/name"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_folder_says_cannot_break_out_of_its_card(text: str) -> None:
    shares = {"hypernet": 1, text: 1}
    tensors = {text: {"rule": text, "filled_elements": shares, "shape": [2], "sha256": text}}
    requested = {"arch": text or None, "overrides": {text: text}, "example_input": text, "max_shard": text}
    said = record(
        spec=text, init=text, requested=requested, tensors=tensors, dtype=text, versions={text: text}, paramgen=text,
        initializer={text: text, "reason": text, "resolved": text, "hypernet": text, "published": {text: text}},
        provenance={"from": text, "repo": text, "license": text, "datasets": [text]}, graph={"sha256": text},
    )  # fmt: skip
    config = {"architecture": text, "architectures": [text], "model_type": text, "arguments": {text: text}}
    for source in ("timm", "transformers", "module"):
        whole = card_text(said | {"source": source}, config, text or "out")
        assert whole.encode() and not is_edited(whole)
        card: Any = ModelCard(whole)
        assert card.data.license is None and card.data.base_model is None and card.data.datasets is None
        assert card.data.tags == ["paramgen", "weight-initialization"]
        marked = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(card.text)
        tokens = [each for token in marked for each in (token, *(token.children or ()))]
        headings = [
            token.content for token, before in zip(marked[1:], marked, strict=False) if before.type == "heading_open"
        ]
        assert headings[1:] == ["Load them", "How they were made", "What was measured", "Limits"]
        html = [token.content for token in tokens if token.type.startswith("html")]
        assert len(html) == 1 and html[0].startswith("<!-- paramgen made this card: ")
        assert not {token.type for token in tokens} & {"link_open", "image", "em_open", "s_open", "blockquote_open"}
        cells = [token.type for token in tokens if token.type in ("tr_open", "th_open", "td_open")]
        assert cells.count("td_open") == 2 * (cells.count("tr_open") - 4) + 8  # facts of two cells, rules of four
        assert not any(letter in card.text for letter in "\x1b\u202e")
        assert ("{{ 7" in card.text) == ("{{ 7" in text)


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\n" not in text])
def test_escaping(text: str) -> None:
    assert code(text).strip("`") != code(text) and "\n" not in code(text) + prose(text) + cell(text)
    assert "|" not in cell(text).replace("\\|", "")
    block = fenced([text], "sh").splitlines()
    assert block[-1] not in block[1:-1] and set(block[-1]) == {"`"}
    for mark in "<[`*_":
        assert f"\\{mark}" in prose(text) or mark not in text


@given(st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1, max_size=4))
def test_a_shell_reads_the_words_back(words: list[str]) -> None:
    words = [word for word in words if not any(0xD800 <= ord(letter) < 0xDC80 or ord(letter) > 0xDCFF
                                               for letter in word if 0xD800 <= ord(letter) <= 0xDFFF)]  # fmt: skip
    line = shell(["printf", r"%s\0", *words])
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line.encode()], capture_output=True, check=True)
    expected = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)
    assert done.stdout == (expected or b"\0")


@pytest.mark.parametrize(
    "value", [1, "1", True, "true", "True", None, "None", "", " a ", [1, "x"], {"a": 1.5}, "a=b", "näh", 1e-5, '"x"']
)
def test_overrides_are_typed_as_they_are_read(value: Any) -> None:
    requested = {"arch": "timm:resnet18", "overrides": {"key": value}}
    words = command_of(record(requested=requested), "out")
    assert words is not None
    assert parse_overrides([words[words.index("--set") + 1]]) == {"key": value}


def test_the_command_has_all_that_was_asked_for() -> None:
    requested = {"arch": "/a/b/own.py:build", "overrides": {}, "example_input": "2x3:long", "max_shard": 700}
    words = command_of(record(requested=requested, init="hypernet:/a/h?softmax=fused", dtype="bfloat16"), "out")
    assert words == ["paramgen", "predict", "--arch", "own.py:build", "--example-input", "2x3:long", "--init",
                     "hypernet:h?softmax=fused", "--seed", "3", "--dtype", "bfloat16", "--max-shard", "700B",
                     "--out", "out"]  # fmt: skip
    chosen = command_of(record(init="auto", initializer={"resolved": "orthogonal"}), "out")
    assert chosen is not None and chosen[chosen.index("--init") + 1] == "orthogonal"
    assert command_of(record(requested={"arch": None}), "out") is None


@pytest.mark.parametrize(("copied", "typed"), [([], "hypernet:text?tokenizer=words"), (["/a/words"], "hypernet:text")])
def test_the_command_names_the_tokenizer_that_the_start_was_told_of(copied: list[str], typed: str) -> None:
    requested = {"arch": "gpt2", "companion_files": [["--tokenizer", name] for name in copied]}
    made = {"resolved": "hypernet:text", "hypernet": "paramgen/text", "tokenizer": "/a/words"}
    words = command_of(record(requested=requested, init="hypernet?tokenizer=/a/words", initializer=made), "out")
    assert words is not None and words[words.index("--init") + 1] == typed
    assert ("--tokenizer" in words) == bool(copied)


@pytest.mark.parametrize(
    ("spec", "short"),
    [("hypernet:/a/b/", "hypernet:b/"), ("/a/b.py:f", "b.py:f"), ("a/b.py:f", "a/b.py:f"),
     ("timm:x?y=/a", "timm:x?y=/a"), ("hypernet:text?tokenizer=/a/b", "hypernet:text?tokenizer=b"),
     ("lsuv:~/images", "lsuv:images"),
     ("hypernet:org/repo@x:f.pt", "hypernet:org/repo@x:f.pt")],
)  # fmt: skip
def test_nothing_above_a_file_is_said(spec: str, short: str) -> None:
    assert without_folders(spec) == short


@pytest.mark.parametrize(
    ("source", "config", "library", "task"),
    [
        ("transformers", {"architectures": ["GPT2LMHeadModel"]}, "transformers", "text-generation"),
        ("transformers", {"architectures": ["BertForMaskedLM"]}, "transformers", "fill-mask"),
        ("transformers", {"architectures": ["XLMWithLMHeadModel"]}, "transformers", None),
        ("transformers", {"architectures": ["ViTModel"]}, "transformers", None),
        ("timm", {"architecture": "resnet18", "num_classes": 0}, "timm", "image-feature-extraction"),
        ("torchvision", {"architecture": "resnet18"}, "pytorch", "image-classification"),
        ("torchvision", {"architecture": "fcos_resnet50_fpn"}, "pytorch", "object-detection"),
        ("torchvision", {"architecture": "raft_small"}, "pytorch", None),
        ("diffusers", {"_class_name": "UNet2DModel"}, "diffusers", "unconditional-image-generation"),
        ("diffusers", {"_class_name": "UNet2DConditionModel"}, "diffusers", None),
        ("module", {"architecture": "/x/own.py:build"}, "pytorch", None),
        ("transformers", {}, "transformers", None),
    ],
)
def test_library_and_task(source: str, config: Mapping[str, Any], library: str, task: str | None) -> None:
    found = metadata(source, config, {})
    assert (found["library_name"], found["pipeline_tag"]) == (library, task)


def test_inherited_weights_keep_the_licence_of_their_source() -> None:
    known = {"from": "org/big@main", "repo": "org/big", "license": "mit", "datasets": ["org/data"]}
    card: Any = ModelCard(card_text(record(provenance=known, initializer={"larger_model": "org/big"}), CONFIG, "out"))
    assert (card.data.license, card.data.base_model, card.data.datasets) == ("mit", "org/big", ["org/data"])
    assert "`org/big@main`, which is under `mit`" in card.text
    unknown: Any = ModelCard(card_text(record(provenance={"from": "big"}), CONFIG, "out"))
    assert unknown.data.license is None and "licence is not known here" in unknown.text


@pytest.mark.parametrize(
    "front", ["license: mit\ndatasets: [a/b]", "license: [1]", "- 1", "a: &a [*a]", "license: {x: ", "[" * 5000, "\0"]
)
def test_the_card_of_a_source_may_be_anybodys(tmp_path: Path, front: str) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n")
    expected = {"license": "mit", "datasets": ["a/b"]} if front.startswith("license: mit") else {}
    assert known_of(tmp_path) == expected


def test_an_edited_card_is_told() -> None:
    card = card_text(record(), CONFIG, "out")
    assert not is_edited(card)
    assert is_edited(card.replace("train the network", "use it")) and is_edited(card + "more") and is_edited("mine")


@pytest.mark.parametrize(
    "change", [{"tensors": [1]}, {"tensors": {"a": 1}}, {"seed": "x"}, {"requested": [1]}, {"graph": 1}]
)
def test_a_record_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(paramgen.ParamgenError, match="Predict the folder again"):
        card_text(record(**change), CONFIG, "out")


def of_hypernet(name: str, **changes: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the record of a network that a shipped hypernet fills, and the rows of figures that its card has."""
    from importlib.resources import files

    from paramgen.storage.digest import cached_sha256

    folder = Path(str(files("paramgen"))) / "pretrained" / name
    _, results = model_index_to_eval_results(ModelCard.load(folder / "README.md").data.to_dict()["model-index"])
    initializer = {"hypernet": f"paramgen/{name}", "sha256": cached_sha256(folder / "model.safetensors")}
    tensors = {"a": {"rule": "hypernet", "shape": [2, 5], "sha256": "cd" * 32}}
    inherited = {"from": f"paramgen/{name}", "license": "apache-2.0", "datasets": ["uoft-cs/cifar10"]}
    made = record(initializer=initializer, tensors=tensors, tied={}, provenance=inherited, **changes)
    return made, [f"{each.metric_name} | {each.metric_value:g} |" for each in results]


def test_what_was_measured_of_a_shipped_hypernet_is_quoted_for_networks_as_small() -> None:
    made, figures = of_hypernet("vision", parameters=20, measured={"networks": 3, "largest": 20})
    said = card_text(made, CONFIG, "out")
    assert figures and all(figure in said for figure in figures)
    made["initializer"]["sha256"] = "0" * 64
    assert not any(figure in card_text(made, CONFIG, "out") for figure in figures)


@pytest.mark.parametrize(
    ("name", "measured", "said"),
    [
        ("vision", {"networks": 3, "largest": 19}, "were measured up to 19 parameters; this one has 20, and at that"),
        ("vision", {"networks": 0, "largest": 0}, "no network of this kind was measured"),
        ("vision", {}, "no network of this kind was measured"),
        ("vision", {"networks": True, "largest": "20"}, "no network of this kind was measured"),
        ("first_light", {}, "no network of this kind was measured"),
    ],
)
def test_figures_of_other_networks_are_not_quoted(name: str, measured: dict[str, Any], said: str) -> None:
    made, figures = of_hypernet(name, parameters=20, measured=measured)
    card = card_text(made, CONFIG, "out")
    assert said in card and not any(figure in card for figure in figures)


def test_a_resnet50s_card_quotes_nothing_of_small_networks(tmp_path: Path) -> None:
    from paramgen.initializers.auto import table
    from paramgen.prediction import prepare
    from paramgen.prediction.summary import Summary

    prediction = prepare("resnet50", init="hypernet")
    tensors = {name: {"rule": rule, "shape": [1], "sha256": ""} for name, rule in prediction.rules.items()}
    made = Summary(prediction=prediction).record(max_shard="5GB", companion_files=[])
    card = card_text({**made, "tensors": tensors}, CONFIG, "out")
    largest = table().families["residual_cnn"][0].largest
    assert f"were measured up to {largest:,} parameters; this one has 25,557,032" in card
    assert "accuracy after" not in card and "figure | value" not in card


def test_a_card_follows_what_was_filled() -> None:
    made, figures = of_hypernet("vision", parameters=20, measured={"networks": 3, "largest": 20})
    made["tensors"]["a"] |= {"rule": "hypernet in part", "filled_elements": {"hypernet": 4, "library": 6}}
    card = card_text(made, CONFIG, "out")
    assert "| `hypernet` | 1 | 4 | 40.0 % |" in card and "| `library` | 1 | 6 | 60.0 % |" in card
    assert "40.0 % of their values come from `paramgen/vision`" in card
    made["tensors"]["a"] = {"rule": "library", "shape": [2, 5], "sha256": "cd" * 32}
    nothing: Any = ModelCard(card_text(made, CONFIG, "out"))  # as older versions wrote where a hypernet filled nothing
    assert "paramgen/vision" not in nothing.content and nothing.data.datasets is None
    assert not any(figure in nothing.content for figure in figures)


def test_the_folder_is_as_before_but_for_its_card(tmp_path: Path, own: Path) -> None:
    written = paramgen.write(f"{own}:build", tmp_path / "out", overrides={"width": 4}, init="library")
    assert written.files["README.md"] == (tmp_path / "out" / "README.md").stat().st_size
    saved = json.loads((tmp_path / "out" / "paramgen.json").read_text())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (tmp_path / "out" / "README.md").read_text() == card_text(saved, config, "out")
    assert list(saved["tensors"])[0] == "conv.weight"  # in the network's order
    (tmp_path / "out" / "README.md").write_text("mine")
    assert paramgen.check(tmp_path / "out").tensors == written.checked.tensors  # type: ignore[union-attr]
