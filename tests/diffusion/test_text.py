from pathlib import Path

import pytest
import torch

from paramgen.diffusion import text
from paramgen.diffusion.text import MINILM, REVISION, checked_prompts, text_encoder
from paramgen.errors import MissingPackageError, PipelineError


def test_embeddings_have_meaning_and_do_not_depend_on_company() -> None:
    encoder = text_encoder(MINILM, REVISION)
    texts = ["a pencil drawing", "graphite sketch on paper", "blurred and brighter"]
    found = encoder(texts)
    assert found.shape == (3, 384) and torch.allclose(found.norm(dim=1), torch.ones(3))
    assert float(found[0] @ found[1]) > 0.5 > float(found[0] @ found[2])
    assert torch.equal(encoder(texts[2:])[0], found[2])


def test_a_prompt_longer_than_the_model_reads_is_refused() -> None:
    with pytest.raises(PipelineError, match="tokens; the text model reads 256"):
        text_encoder(MINILM, REVISION)(["blur " * 300])


@pytest.mark.parametrize("prompts", ["", "  \n", [], ["sepia", ""], "a" * 10_000, ["a"] * 65, 3, None, [3]])
def test_prompts_that_are_none_are_refused(prompts: object) -> None:
    with pytest.raises(PipelineError) as refusal:
        checked_prompts(prompts)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500


def test_only_the_known_text_model_is_loaded() -> None:
    with pytest.raises(PipelineError, match="known is"):
        text_encoder("evil/model", REVISION)
    with pytest.raises(PipelineError, match="known is"):
        text_encoder(MINILM, "main")


def test_without_package_and_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(text, "_PACKAGE", "no_such_package")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    text._minilm.cache_clear()
    with pytest.raises(MissingPackageError, match=r"pip install '\.\[diffusion\]'"):
        text_encoder(MINILM, REVISION)


def test_another_file_under_its_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"anything")
    monkeypatch.setattr(text, "_installed", lambda: tmp_path)
    text._minilm.cache_clear()
    with pytest.raises(PipelineError, match="does not hold the published"):
        text_encoder(MINILM, REVISION)
