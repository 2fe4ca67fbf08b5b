"""Tokenizers and image processors in a folder of transformers: its own files, and only such as fit."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import paramgen
from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import FolderLayout
from paramgen.architectures.processors import companions

if TYPE_CHECKING:
    from conftest import Command

BERT = "transformers:bert?hidden_size=8&num_hidden_layers=1&num_attention_heads=2&intermediate_size=8&vocab_size=6"
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of six words, as transformers saves it."""
    ensure_torchvision()
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    found: Any = Tokenizer(models.WordLevel({w: i for i, w in enumerate("? a b c d e".split())}, unk_token="?"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("words")
    maker: Any = PreTrainedTokenizerFast
    maker(tokenizer_object=found, unk_token="?").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ensure_torchvision()
    from transformers import ViTImageProcessor

    folder = tmp_path_factory.mktemp("pictures")
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder)
    return folder


def refused(tokenizer: object = None, image_processor: object = None, arch: Any = BERT, **overrides: Any) -> str:
    given = {"tokenizer": tokenizer, "image_processor": image_processor}
    named: dict[str, Any] = {name: None if value is None else str(value) for name, value in given.items()}
    with pytest.raises(paramgen.ParamgenError) as caught:
        paramgen.write(arch, "out", init="library", overrides=overrides, **named)
    assert "\n" not in str(caught.value) and not Path("out").exists()
    return str(caught.value)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("file", ["", "tokenizer.json"])
def test_both_are_read_again_by_transformers(words: Path, pictures: Path, file: str) -> None:
    from transformers import AutoImageProcessor, AutoTokenizer

    written = paramgen.write(BERT, "out", init="library", tokenizer=str(words / file), image_processor=str(pictures))
    assert AutoTokenizer.from_pretrained("out")("a e b")["input_ids"] == [1, 5, 2]
    assert AutoImageProcessor.from_pretrained("out").size["height"] == 8
    beside = {"tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "config.json", "model.safetensors"}
    assert f"--tokenizer {(words / file).name}" in (written.folder / "README.md").read_text()
    assert beside == set(written.files) - {"paramgen.json", "README.md"}
    listed = json.loads(Path("out/paramgen.json").read_text())["files"]
    assert listed.keys() >= beside and all(Path("out", name).stat().st_size == size for name, size in listed.items())
    assert paramgen.check("out").loaded_by == "transformers"


def test_a_vocabulary_that_is_too_small_is_explained_and_a_larger_one_is_not_refused(words: Path) -> None:
    assert refused(words, vocab_size=4).endswith(
        "has 6 tokens, the network a vocabulary of 4. Pass: overrides={'vocab_size': 6}"
    )
    assert paramgen.write(BERT, "out", init="library", tokenizer=str(words), overrides={"vocab_size": 7}).checked


def test_a_nested_vocabulary_is_named(words: Path) -> None:
    layout = FolderLayout(source="transformers", config={"text_config": {"vocab_size": 5}})
    with pytest.raises(paramgen.ParamgenError, match=r"overrides=\{'text_config\.vocab_size': 6\}"):
        companions(layout, tokenizer=str(words), image_processor=None)


def test_what_is_none_is_refused_in_a_line(tmp_path: Path, words: Path, pictures: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "broken").mkdir()
    shutil.copytree(words, tmp_path / "broken", dirs_exist_ok=True)
    (tmp_path / "broken" / "tokenizer.json").write_text("{")
    for name in ("nothing/here", "empty", "network", "broken", "broken/tokenizer.json"):
        assert "Pass: tokenizer=" in refused(name)
    for name in ("nothing/here", "empty", "network", str(words)):
        assert "Pass: image_processor=" in refused(None, name)
    assert "for networks of transformers; this one is timm's" in refused(words, arch="timm:resnet10t")


def test_a_file_of_code_is_not_run(tmp_path: Path, words: Path) -> None:
    evil = shutil.copytree(words, tmp_path / "evil")
    config = json.loads((evil / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (evil / "tokenizer_config.json").write_text(json.dumps(config))
    (evil / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    assert "contains custom code" in refused(evil)
    assert not (tmp_path / "ran").exists()


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "huge").mkdir()
    with (tmp_path / "huge" / "tokenizer.json").open("wb") as file:
        file.truncate(10**12)  # a hole: it takes no space
    assert "which no tokenizer needs" in refused("huge")
    assert "which no tokenizer needs" in refused("huge/tokenizer.json")


def test_the_command_takes_both(command: "Command", words: Path, pictures: Path, tmp_path: Path) -> None:
    arguments = ["predict", "--arch", BERT, "--init", "library", "--out", "out"]
    options = ["--tokenizer", words, "--image-processor", pictures]
    done = command(*arguments, *options, "--json")
    assert {"tokenizer.json", "preprocessor_config.json"} <= json.loads(done.out)["files"].keys()
    assert "vocabulary of 3" in command(*arguments, *options, "--set", "vocab_size=3", "--overwrite").refusal


@pytest.mark.parametrize("count", [10**9, 200_000])
def test_a_tokenizer_of_too_many_extra_tokens_is_refused_before_it_is_made(tmp_path: Path, count: int) -> None:
    (tmp_path / "evil").mkdir()
    given = {"tokenizer_class": "ByT5Tokenizer", "extra_ids": count}
    (tmp_path / "evil" / "tokenizer_config.json").write_text(json.dumps(given))
    assert "extra_ids" in refused(tokenizer=tmp_path / "evil")


def test_a_panic_of_compiled_code_is_one_line(tmp_path: Path, words: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tokenizer = json.loads((words / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "//////////8="}
    (tmp_path / "evil.json").write_text(json.dumps(tokenizer))
    assert "No tokenizer" in refused(tokenizer=tmp_path / "evil.json")
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("text", ["[" * 10**5, "[]", "{", '{"size": {"height": 1e400, "width": 10000000000}}'])
def test_an_image_processors_configuration_is_read_with_care(tmp_path: Path, text: str) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "preprocessor_config.json").write_text(text)
    refused(image_processor=tmp_path / "evil")


def test_of_a_repository_no_code_is_fetched(tmp_path: Path, words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from paramgen.architectures import processors

    asked: list[tuple[str, list[str]]] = []

    def fetched(repo: str, patterns: list[str], revision: str | None = None) -> Path:
        asked.append((repo, patterns))
        return words

    monkeypatch.setattr("paramgen.hub.download.fetch_folder", fetched)
    assert len(processors.read_tokenizer("someone/words")) == 6
    ((repo, patterns),) = asked
    assert repo == "someone/words" and not any(pattern.endswith((".py", ".bin", ".pkl", "*")) for pattern in patterns)
