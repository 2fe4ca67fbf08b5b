"""Weights denoised from a prompt: by the pipeline that comes with paramgen, one in a folder, or one on the Hub."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import ArchitectureError, OptionError
from paramgen.graphs.schema import Graph
from paramgen.hypernets.storage import shipped
from paramgen.initializers import Initializer, NamedTensors, ResolvedInitializer, initializers
from paramgen.modelcard.card_data import known_of
from paramgen.registry.overrides import join_spec
from paramgen.slots.init_program import one_thread, slot_generator

if TYPE_CHECKING:
    from paramgen.diffusion.loading import Opened

DENOISED, BASE = "diffusion", "base checkpoint"
SHIPPED: Final = "edits"
MAX_BEST_OF: Final = 256
MAX_DENOISING_STEPS: Final = 1_000
MAX_GUIDANCE: Final = 100
_DERIVED: Final = ("architectures", "dtype", "out_features", "out_indices", "stage_names", "transformers_version")
"""Entries of a config that its library makes of others."""


@final
@initializers.register("diffusion")
@dataclass(frozen=True, kw_only=True)
class DiffusionInitializer(Initializer):
    """Weights denoised from a prompt (Gong et al., 2024): diffusion, or diffusion:FOLDER_OR_REPO."""

    group: ClassVar[str] = "learned"
    applies_to: ClassVar[str] = "the pipeline's own network"

    path: str = ""  # a folder, a Hub repository, `@revision` after it, or the name of one that comes with paramgen
    prompt: str | Sequence[str] = ""  # what the network is to do: a text, or several, whose embeddings are averaged
    steps: int = 1  # of denoising; one step gives the mean of likely weights, more steps a sample of them
    guidance: float = 1.0  # 1 follows the prompt, more exaggerates it
    optimized_scale: bool = False  # of guidance, as in CFG-Zero*
    zero_init: int = 0  # first steps that are not followed, as in CFG-Zero*
    best_of: int = 1  # samples, of which the one is taken that does best on `pairs`
    pairs: str = ""  # a folder with pictures of the same names in input/ and target/

    def __post_init__(self) -> None:
        for name, kind in (("path", str), ("pairs", str), ("optimized_scale", bool)):
            if not isinstance(getattr(self, name), kind):
                raise OptionError(f"{name} is {getattr(self, name)!r}; it is of type {kind.__name__}.")
        for name in ("steps", "zero_init", "best_of"):
            if type(getattr(self, name)) is not int:
                raise OptionError(f"{name} is {getattr(self, name)!r}; allowed are whole numbers.")
        if type(self.guidance) not in (int, float) or not 0 <= self.guidance <= MAX_GUIDANCE:
            raise OptionError(f"guidance is {self.guidance!r}; allowed are numbers from 0 to {MAX_GUIDANCE}.")
        if not 0 <= self.zero_init < self.steps <= MAX_DENOISING_STEPS:
            raise OptionError(
                f"steps is {self.steps} and zero_init {self.zero_init}; allowed are 1 to {MAX_DENOISING_STEPS} steps, "
                "of which the last is followed."
            )
        if not 1 <= self.best_of <= MAX_BEST_OF or (self.best_of > 1) != bool(self.pairs):
            raise OptionError(
                f"best_of is {self.best_of} and pairs {self.pairs!r}; best_of is 1, or up to {MAX_BEST_OF} with a "
                "folder of pictures to choose by. Type: --init 'diffusion?best_of=8&pairs=FOLDER'"
            )

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`diffusion` for what is denoised, `base checkpoint` for what all networks of the zoo share."""
        self._check(architecture)
        codec = self._opened.pipeline.codec
        changed = {name.partition(".lora_")[0] if codec.form == "low_rank" else name for name in codec.tensors.slots}
        return {slot.name: DENOISED if slot.name in changed else BASE for slot in architecture.manifest.filled}

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield the slots of the draw, or of the best of several."""
        self._check(architecture)
        state = self._best(seed)
        for slot in architecture.manifest.filled:
            yield slot.name, state[slot.name].to(slot.dtype).contiguous()

    def resolve(self, architecture: Architecture, graph: Graph) -> ResolvedInitializer:
        """Return itself, if this is the architecture of its pipeline."""
        self._check(architecture)
        return ResolvedInitializer(initializer=self)

    def own_architecture(self) -> str:
        """Return the spec of the pipeline's base checkpoint."""
        layout = self._opened.architecture.layout
        base: Any = self._opened.pipeline.base
        if layout.source == "transformers":
            name, defaults = type(base).__name__, json.loads(type(base.config)().to_json_string(use_diff=False))
        else:
            name, defaults = layout.config["_class_name"], type(base)().config
        own = {key: value for key, value in layout.config.items() if key not in _DERIVED and defaults.get(key) != value}
        own = {key: value for key, value in own.items() if key in defaults and not key.startswith("_")}
        return join_spec(f"{layout.source}:{name}", own)

    def describe(self) -> Mapping[str, Any]:
        """Return the pipeline and its hash, the prompts, and the training texts that are most similar."""
        prompts, opened = self._prompts, self._opened  # in this order: a bad prompt is refused before anything is read
        return {
            "pipeline": self._name,
            "sha256": opened.sha256,
            **({} if opened.revision is None else {"revision": opened.revision}),
            "prompt": "; ".join(prompts),
            "similarity": self._nearest[0][1],
            "nearest": "; ".join(f"{text} ({similarity:.2f})" for text, similarity in self._nearest),
            "far": self._far,
            "steps": self.steps,
            "guidance": self.guidance,
            "best_of": self.best_of,
        }

    def remarks(self) -> Sequence[str]:
        """Return a warning where the prompt is far from all training texts."""
        if not self._far:
            return ()
        text, similarity = self._nearest[0]
        usual = self._opened.pipeline.prompts.config["near"]
        return (
            f"the prompt is far from what the pipeline was trained on: the nearest is {text!r}, with a similarity of "
            f"{similarity:.2f} ({usual:.2f} or more is usual)",
        )

    def provenance(self) -> Mapping[str, Any]:
        """Return the pipeline's origin and what the card in its folder says of it."""
        repo = {} if self._opened.repo is None else {"repo": self._opened.repo}
        return {"from": self._name, **repo, **known_of(self._opened.folder)}

    def _best(self, seed: int) -> dict[str, Tensor]:
        """Return the sample that does best on the pairs; without pairs there is only one."""
        if not self.pairs:
            return self._sample(seed, 0)
        from paramgen.diffusion.choosing import distance, pairs_of

        pipeline = self._opened.pipeline
        pairs = pairs_of(Path(self.pairs), pipeline.base)
        programs = [self._sample(seed, number) for number in range(self.best_of)]
        with one_thread():
            distances = [distance(pipeline, state, pairs) for state in programs]
        return programs[distances.index(min(distances))]

    def _sample(self, seed: int, number: int) -> dict[str, Tensor]:
        pipeline = self._opened.pipeline
        with one_thread():
            (states,) = pipeline(
                prompt_embeds=self._text[None],
                num_inference_steps=self.steps,
                guidance_scale=float(self.guidance),
                optimized_scale=self.optimized_scale,
                zero_init_steps=self.zero_init,
                generator=slot_generator(seed, "diffusion", stream=str(number)),
                return_dict=False,
            )
        return dict(states[0])

    def _check(self, architecture: Architecture) -> None:
        """Refuse any other architecture than the pipeline's, and say in what it differs."""
        from paramgen.diffusion.blocks import difference_of

        wanted = {slot.name: tuple(slot.shape) for slot in self._opened.architecture.manifest.values()}
        difference = difference_of({slot.name: tuple(slot.shape) for slot in architecture.manifest.values()}, wanted)
        if difference:
            raise ArchitectureError(
                f"{architecture.spec} is not the network that {self._name} makes weights for: {difference}. Leave "
                f"--arch out, or type: --arch '{self.own_architecture()}'"
            )

    @property
    def _name(self) -> str:
        folder = shipped(self.path, SHIPPED)
        return self.path if folder is None else f"paramgen/{folder.name}"

    @cached_property
    def _opened(self) -> "Opened":
        from paramgen.diffusion.loading import PIPELINE_ADVICE, open_pipeline

        folder = shipped(self.path, SHIPPED)
        if folder is None and not self.path:
            raise OptionError(f"No pipeline comes with this version of paramgen. {PIPELINE_ADVICE}")
        return open_pipeline(self.path if folder is None else str(folder))

    @cached_property
    def _prompts(self) -> tuple[str, ...]:
        from paramgen.diffusion.text import checked_prompts

        if not self.prompt:
            raise OptionError("diffusion needs a prompt. Type: --init diffusion --prompt 'pencil sketch'")
        return checked_prompts(self.prompt)

    @cached_property
    def _text(self) -> Tensor:
        """The mean of the prompts' embeddings, of length one as each is."""
        return torch.nn.functional.normalize(self._opened.pipeline.embed(self._prompts).mean(0), dim=0)

    @cached_property
    def _nearest(self) -> list[tuple[str, float]]:
        with one_thread():
            return self._opened.pipeline.prompts.nearest(self._text)

    @property
    def _far(self) -> bool:
        return self._nearest[0][1] < float(self._opened.pipeline.prompts.config["near"])
