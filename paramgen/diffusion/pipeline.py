"""The pipeline that samples the weights of a network for a prompt, built like the pipelines of diffusers."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.outputs import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float
from torch import Tensor, nn

from paramgen.diffusion.codec import WeightCodec
from paramgen.diffusion.denoiser import WeightDenoiser
from paramgen.diffusion.guidance import guided
from paramgen.diffusion.prompts import KnownPrompts
from paramgen.diffusion.text import MINILM, REVISION, checked_prompts, text_encoder
from paramgen.errors import PipelineError
from paramgen.zoo import restore

SCHEDULERS: Final = (
    "DDPMScheduler",
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "FlowMatchEulerDiscreteScheduler",
)
MAX_DENOISING_STEPS: Final = 1_000

Generators = torch.Generator | list[torch.Generator] | None
StepEnd = Callable[["WeightDiffusionPipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor]]


@final
@dataclass
class WeightOutput(BaseOutput):
    """The result: for each prompt its tensors by name, or the blocks of all prompts."""

    states: list[dict[str, Tensor]] | Tensor


@final
class WeightDiffusionPipeline(DiffusionPipeline):
    """Samples the weights of one architecture for a prompt by denoising (Gong et al., 2024, arXiv:2407.11966).

    Args:
        denoiser: The trained network.
        codec: Converts its blocks to tensors.
        base: The base checkpoint: the network that the updates are added to, with its class and configuration.
        prompts: The prompts that the denoiser was trained on.
        scheduler: DDPM, DDIM, DPM-Solver++ or flow matching of diffusers.
        text_model: The Hub's name of the text model that embeds prompts.
        text_revision: Its commit.
        output: `direct` if the network gives the result itself, `residual` if what is added to its input.

    """

    denoiser: WeightDenoiser
    codec: WeightCodec
    base: nn.Module
    prompts: KnownPrompts
    scheduler: Any

    def __init__(
        self,
        denoiser: WeightDenoiser,
        codec: WeightCodec,
        base: nn.Module,
        prompts: KnownPrompts,
        scheduler: Any,
        *,
        text_model: str = MINILM,
        text_revision: str = REVISION,
        output: str = "direct",
    ) -> None:
        super().__init__()
        self.register_modules(denoiser=denoiser, codec=codec, base=base, prompts=prompts, scheduler=scheduler)
        self.register_to_config(text_model=text_model, text_revision=text_revision, output=output)

    def embed(self, prompt: str | Sequence[str]) -> Float[Tensor, "batch text"]:
        """Return the embedding of each prompt."""
        encoder = text_encoder(self.config["text_model"], self.config["text_revision"])
        return encoder(checked_prompts(prompt))

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        prompt_embeds: Float[Tensor, "batch text"] | None = None,
        num_inference_steps: int = 20,
        guidance_scale: float = 1.0,
        optimized_scale: bool = False,
        zero_init_steps: int = 0,
        generator: Generators = None,
        output_type: str = "state",
        callback_on_step_end: StepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("sample",),
        return_dict: bool = True,
    ) -> WeightOutput | tuple[Any]:
        """Return one set of weights for each prompt.

        Args:
            prompt: What the network shall do.
            prompt_embeds: Embeddings in place of prompts.
            num_inference_steps: Number of denoising steps.
            guidance_scale: Classifier-free guidance (Ho & Salimans, 2022); 1 is without.
            optimized_scale: Rescale the unconditional prediction to fit the conditional one (CFG-Zero*).
            zero_init_steps: First steps at which the prediction is zero (CFG-Zero*).
            generator: One for all prompts, or one for each.
            output_type: `state` for whole state dicts, `update` for the update alone, `blocks` for denoised blocks.
            callback_on_step_end: Called after each step with the pipeline, the step, the timestep and the tensors.
            callback_on_step_end_tensor_inputs: Names of tensors for the callback; only `sample` exists.
            return_dict: Return a `WeightOutput` rather than a tuple of one.

        """
        _check(num_inference_steps, guidance_scale, zero_init_steps, output_type)
        if list(callback_on_step_end_tensor_inputs) not in ([], ["sample"]):
            raise PipelineError(
                f"Tensors of a callback are {list(callback_on_step_end_tensor_inputs)}; there is: sample"
            )
        text = self._text(prompt, prompt_embeds).to(self._execution_device, self.denoiser.dtype)
        self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
        sample = self._noise(len(text), generator)
        options = {"generator": generator} if "generator" in inspect.signature(self.scheduler.step).parameters else {}
        for step, timestep in enumerate(self.progress_bar(self.scheduler.timesteps)):
            if step < zero_init_steps:
                predicted = torch.zeros_like(sample)
            else:
                predicted = self._predict(sample, timestep, text, scale=guidance_scale, optimized=optimized_scale)
            sample = self.scheduler.step(predicted, timestep, sample, **options, return_dict=False)[0]
            if callback_on_step_end is not None:
                named = {"sample": sample} if callback_on_step_end_tensor_inputs else {}
                sample = (callback_on_step_end(self, step, timestep, named) or {}).get("sample", sample)
        if not bool(sample.isfinite().all()):
            raise PipelineError("The denoised values are not finite. Take fewer steps or less guidance.")
        states = sample if output_type == "blocks" else [self._tensors(blocks, output_type) for blocks in sample]
        self.maybe_free_model_hooks()
        return WeightOutput(states=states) if return_dict else (states,)

    def _text(self, prompt: str | Sequence[str] | None, embeds: Tensor | None) -> Float[Tensor, "batch text"]:
        if prompt is not None and embeds is None:
            return self.embed(prompt)
        if embeds is None or prompt is not None:
            raise PipelineError("Give either a prompt or prompt_embeds.")
        return embeds

    def _noise(self, count: int, generator: Generators) -> Float[Tensor, "batch blocks width"]:
        """Return the initial noise; with a generator for each prompt, each prompt has its own."""
        shape = (count, len(self.denoiser.config["layers"]), self.denoiser.config["width"])
        noise = randn_tensor(shape, generator=generator, device=self._execution_device, dtype=self.denoiser.dtype)
        return noise * getattr(self.scheduler, "init_noise_sigma", 1.0)

    def _predict(
        self, sample: Tensor, timestep: Tensor, text: Tensor, *, scale: float, optimized: bool
    ) -> Float[Tensor, "batch blocks width"]:
        timesteps = timestep.expand(len(sample))
        conditional = self.denoiser(sample, timesteps, text)
        if scale == 1.0:
            return conditional
        return guided(
            conditional, self.denoiser(sample, timesteps, torch.zeros_like(text)), scale=scale, optimized=optimized
        )

    def _tensors(self, blocks: Tensor, output_type: str) -> dict[str, Tensor]:
        update = self.codec.decode(blocks)
        return update if output_type == "update" else self.restore(update)

    def restore(self, update: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the whole state dict: the base checkpoint with an update."""
        base = {name: tensor.float() for name, tensor in self.base.state_dict().items()}
        if self.codec.form == "low_rank":
            return restore(base, update, scale=self.codec.config["scale"])
        return {**base, **update}


def _check(steps: int, scale: float, zero: int, output_type: str) -> None:
    if not 1 <= steps <= MAX_DENOISING_STEPS:
        raise PipelineError(f"The number of steps is {steps}; allowed are 1 to {MAX_DENOISING_STEPS:,}.")
    if not 0 <= scale <= 100:
        raise PipelineError(f"The guidance is {scale}; allowed are 0 to 100.")
    if not 0 <= zero < steps:
        raise PipelineError(f"zero_init_steps is {zero} of {steps} steps; allowed are 0 to {steps - 1}.")
    if output_type not in ("state", "update", "blocks"):
        raise PipelineError(f"The output type is {output_type!r}. Allowed: state, update and blocks")
