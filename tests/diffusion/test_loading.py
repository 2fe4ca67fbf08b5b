from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from paramgen.architectures import resolve
from paramgen.diffusion.choosing import pairs_of
from paramgen.diffusion.loading import PIPELINE_WEIGHTS, open_pipeline
from paramgen.diffusion.pipeline import WeightDiffusionPipeline
from paramgen.errors import OptionError, PipelineError
from paramgen.initializers.diffusion import DiffusionInitializer
from tests.support.diffusion import flow, pipeline_of, spoil, states_equal


def test_it_is_what_diffusers_loads(pipeline_folder: Path) -> None:
    ours, theirs = (
        open_pipeline(str(pipeline_folder)).pipeline,
        WeightDiffusionPipeline.from_pretrained(pipeline_folder),
    )
    for part in ("denoiser", "codec", "base", "prompts"):
        assert states_equal(dict(getattr(ours, part).state_dict()), dict(getattr(theirs, part).state_dict()))
    assert type(ours.scheduler) is type(theirs.scheduler)
    assert all(theirs.scheduler.config[key] == value for key, value in ours.scheduler.config.items())
    assert ours.config["text_model"] == theirs.config["text_model"]


def test_networks_of_transformers_may_be_the_base(tmp_path: Path) -> None:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"num_labels": 2}  # not in the signature of this config
    config = ConvNextConfig(num_stages=1, hidden_sizes=[4], depths=[1], image_size=8, **sizes)
    base = ConvNextForImageClassification(config)
    slots = {name: list(tensor.shape) for name, tensor in base.state_dict().items() if "pwconv" in name}
    pipeline_of(base, flow(), slots=slots).save_pretrained(tmp_path / "words")
    opened = open_pipeline(str(tmp_path / "words"))
    assert "base/model.safetensors" in opened.files and all(
        (tmp_path / "words" / file).is_file() for file in opened.files
    )
    assert states_equal(dict(opened.pipeline.base.state_dict()), dict(base.state_dict()))
    own = DiffusionInitializer(path=str(tmp_path / "words"), prompt="cats against trucks").own_architecture()
    assert {name: slot.shape for name, slot in resolve(own).manifest.items()} == {
        name: tuple(tensor.shape) for name, tensor in base.state_dict().items()
    }
    with pytest.raises(OptionError, match="the pipeline's network takes none"):
        pairs_of(tmp_path, opened.pipeline.base)


SCHEDULER = "scheduler/scheduler_config.json"


def narrowed(folder: Path) -> None:
    tensors = load_file(folder / "denoiser" / PIPELINE_WEIGHTS)
    save_file({**tensors, "read.bias": tensors["read.bias"][:-1].clone()}, folder / "denoiser" / PIPELINE_WEIGHTS)


def infinite(folder: Path) -> None:
    tensors = load_file(folder / "base" / PIPELINE_WEIGHTS)
    save_file({**tensors, "conv_in.bias": tensors["conv_in.bias"] + torch.inf}, folder / "base" / PIPELINE_WEIGHTS)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "has no model_index.json"),
        (lambda folder: spoil(folder / "model_index.json", _class_name="DDPMPipeline"), "is not the index of a Weight"),
        (lambda folder: spoil(folder / "model_index.json", denoiser=["os", "system"]), "Allowed are the classes"),
        (lambda folder: spoil(folder / "model_index.json", scheduler=["diffusers", "PNDMScheduler"]), "as 'scheduler'"),
        (lambda folder: spoil(folder / "model_index.json", more=["evil", "Evil"]), "as 'more'"),
        (lambda folder: spoil(folder / "codec" / "config.json", width=10**9), "wide; allowed"),
        (lambda folder: spoil(folder / "codec" / "config.json", components=3), "asks for"),
        (lambda folder: spoil(folder / "denoiser" / "config.json", depth=10**6), "depth 1000000"),
        (lambda folder: spoil(folder / "denoiser" / "config.json", surprise=1), "surprise"),
        (lambda folder: spoil(folder / "prompts" / "config.json", texts=[]), "0 texts"),
        (lambda folder: spoil(folder / "base" / "config.json", block_out_channels=[8]), "asks for"),
        (lambda folder: spoil(folder / "base" / "config.json", _class_name="DDPMPipeline"), "Unknown diffusers"),
        (lambda folder: spoil(folder / "base" / "config.json", layers_per_block=10**8), "allowed are"),
        (lambda folder: spoil(folder / "base" / "config.json", sample_size=10**9), "allowed are"),
        (lambda folder: spoil(folder / "codec" / "config.json", slots=["a"]), "no pipeline that can be used"),
        (lambda folder: spoil(folder / "codec" / "config.json", slots=5), "no pipeline that can be used"),
        (
            lambda folder: spoil(folder / "scheduler" / "scheduler_config.json", num_train_timesteps=1e400),
            "10,000 timesteps",
        ),
        (narrowed, "asks for"),
        (infinite, "not finite"),
        (lambda folder: (folder / "codec" / PIPELINE_WEIGHTS).write_bytes(b"\x80\x04pickle"), "cannot be read"),
        (lambda folder: (folder / "codec" / "config.json").write_text("[" * 10**5), "no JSON"),
        (lambda folder: (folder / "scheduler" / "scheduler_config.json").write_text("[]"), "no JSON object"),
    ],
)
def test_a_spoilt_folder_is_refused_in_one_line(
    harm: Callable[[Path], object], said: str, copied: Callable[[], Path]
) -> None:
    folder = copied()
    harm(folder)
    with pytest.raises(PipelineError, match=said) as refusal:
        open_pipeline(str(folder))
    assert "\n" not in str(refusal.value)


def test_names_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="there is no such folder"):
        open_pipeline(str(tmp_path / "nowhere"))
    with pytest.raises(PipelineError, match="has no model_index.json"):
        open_pipeline(str(tmp_path))
