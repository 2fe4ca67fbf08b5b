from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from paramgen.diffusion.guidance import guided
from paramgen.diffusion.pipeline import WeightDiffusionPipeline
from paramgen.errors import PipelineError
from tests.support.diffusion import network, pipeline_of, states_equal

WORDS = torch.nn.functional.normalize(torch.randn(2, 384, generator=torch.Generator().manual_seed(3)), dim=1)


@pytest.fixture(scope="module")
def pipeline(pipeline_folder: Path) -> WeightDiffusionPipeline:
    """What diffusers' own loader makes of the folder."""
    loaded = WeightDiffusionPipeline.from_pretrained(pipeline_folder)
    without_bar(loaded)
    return loaded


def without_bar(pipeline: Any) -> None:
    pipeline.set_progress_bar_config(disable=True)


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def drawn(pipeline: WeightDiffusionPipeline, seed: int = 0, **options: Any) -> dict[str, Tensor]:
    output: Any = pipeline(prompt_embeds=WORDS[:1], num_inference_steps=3, generator=seeded(seed), **options)
    state: dict[str, Tensor] = output.states[0]
    return state


def test_a_state_is_whole_and_the_base_stays(pipeline: WeightDiffusionPipeline) -> None:
    before = {name: tensor.clone() for name, tensor in pipeline.base.state_dict().items()}
    state = drawn(pipeline)
    assert {name: tensor.shape for name, tensor in state.items()} == {n: t.shape for n, t in before.items()}
    changed = {name for name, tensor in state.items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if "conv" in name}
    assert states_equal(dict(pipeline.base.state_dict()), before)


def test_the_seed_and_the_words_decide(pipeline: WeightDiffusionPipeline) -> None:
    assert states_equal(drawn(pipeline), drawn(pipeline))
    assert not states_equal(drawn(pipeline), drawn(pipeline, 1))
    other: Any = pipeline(prompt_embeds=WORDS[1:], num_inference_steps=3, generator=seeded(0))
    assert not states_equal(drawn(pipeline), other.states[0])


def test_several_prompts_are_as_if_each_were_alone(pipeline: WeightDiffusionPipeline) -> None:
    both: Any = pipeline(prompt_embeds=WORDS, num_inference_steps=3, generator=seeded(0, 1))
    alone = drawn(pipeline)
    assert all(torch.allclose(tensor, alone[name], atol=1e-5) for name, tensor in both.states[0].items())


@pytest.mark.parametrize(
    "scheduler",
    [
        DDPMScheduler(clip_sample=False),
        DDIMScheduler(clip_sample=False, prediction_type="sample"),
        DPMSolverMultistepScheduler(prediction_type="v_prediction"),
        FlowMatchEulerDiscreteScheduler(),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_schedulers_of_diffusers_sample_and_are_stored(scheduler: object, tmp_path: Path) -> None:
    made = pipeline_of(network(), scheduler)
    without_bar(made)
    made.save_pretrained(tmp_path / "stored")
    again = WeightDiffusionPipeline.from_pretrained(tmp_path / "stored")
    without_bar(again)
    read = drawn(again)
    assert all(torch.allclose(tensor, read[name], rtol=1e-3, atol=1e-3) for name, tensor in drawn(made).items())
    assert not states_equal(drawn(made), drawn(made, 1))


def test_a_callback_sees_every_step_and_may_change_it(pipeline: WeightDiffusionPipeline) -> None:
    seen = []

    def stopped(_: WeightDiffusionPipeline, step: int, time: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append((step, float(time)))
        return {"sample": torch.zeros_like(tensors["sample"])}

    (blocks,) = pipeline(
        prompt_embeds=WORDS,
        num_inference_steps=3,
        callback_on_step_end=stopped,
        output_type="blocks",
        return_dict=False,
    )
    assert [step for step, _ in seen] == [0, 1, 2] and seen[0][1] > seen[2][1]
    assert not blocks.any()


def test_guidance_follows_its_formulas(pipeline: WeightDiffusionPipeline) -> None:
    conditional, unconditional = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).unsqueeze(1)
    assert torch.equal(guided(conditional, unconditional, scale=1.0), conditional)
    assert torch.allclose(
        guided(conditional, unconditional, scale=3.0), unconditional + 3 * (conditional - unconditional), atol=1e-5
    )
    share = (conditional * unconditional).sum() / unconditional.square().sum()
    optimized = guided(conditional, unconditional, scale=3.0, optimized=True)
    assert torch.allclose(optimized, share * unconditional + 3 * (conditional - share * unconditional), atol=1e-5)
    assert not states_equal(drawn(pipeline), drawn(pipeline, guidance_scale=3.0))


def test_steps_that_are_not_followed_leave_the_noise(pipeline: WeightDiffusionPipeline) -> None:
    kept = []

    def keep(_: WeightDiffusionPipeline, step: int, time: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        kept.append(tensors["sample"])
        return {}

    drawn(pipeline, zero_init_steps=2, callback_on_step_end=keep)
    assert torch.equal(kept[0], kept[1]) and not torch.equal(kept[1], kept[2])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_inference_steps": 0}, "number of steps is 0"),
        ({"guidance_scale": float("nan")}, "guidance is nan"),
        ({"num_inference_steps": 2, "zero_init_steps": 2}, "allowed are 0 to 1"),
        ({"output_type": "pil"}, "Allowed: state"),
        ({"prompt": "sepia"}, "either a prompt or"),
        ({"callback_on_step_end_tensor_inputs": ["latents"]}, "there is: sample"),
    ],
)
def test_what_cannot_be_is_refused(pipeline: WeightDiffusionPipeline, options: dict[str, Any], said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        pipeline(prompt_embeds=WORDS, **options)
