import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import paramgen
from paramgen.architectures import Architecture, resolve
from paramgen.errors import ArchitectureError, OptionError, ParamgenError
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.fallbacks import graph_of
from paramgen.initializers import complete_spec, initializer_of
from tests.conftest import Command
from tests.support.diffusion import states_equal


@pytest.fixture(scope="module")
def own(pipeline_folder: Path) -> tuple[Architecture, Graph]:
    architecture = resolve(str(pipeline_folder / "base"))
    return architecture, graph_of(architecture)


def drawn(
    folder: Path, prompt: str | list[str] = "sepia", seed: int = 0, more: str = "", *, own: tuple[Architecture, Graph]
) -> dict[str, torch.Tensor]:
    initializer = initializer_of(complete_spec(f"diffusion:{folder}{more}", prompt=prompt))
    return dict(initializer.tensors(*own, seed=seed))


@pytest.mark.slow
def test_a_prompt_is_enough_for_a_folder_that_diffusers_loads(
    pipeline_folder: Path, tmp_path: Path, command: Command
) -> None:
    init = f"diffusion:{pipeline_folder}"
    done = command("predict", "--init", init, "--prompt", 'pencil & "paper"?', "--out", "d", "--json")
    assert done.status == 0, done
    said = json.loads(done.out)
    assert said["by_rule"].keys() == {"diffusion", "base checkpoint"} and said["loaded_by"] == "diffusers"
    assert len(said["remarks"]) == 1 and "far from what the pipeline was trained on" in said["remarks"][0]
    record = json.loads((tmp_path / "d" / "paramgen.json").read_text())["initializer"]
    assert record["prompt"] == 'pencil & "paper"?' and record["far"] is True and -1 <= record["similarity"] <= 1
    assert "diffusion" in (tmp_path / "d" / "README.md").read_text()
    again = command("predict", "--init", init, "--prompt", 'pencil & "paper"?', "--out", "again", "--quiet")
    assert again.status == 0 and not again.out
    files = [tmp_path / name / "diffusion_pytorch_model.safetensors" for name in ("d", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert command("check", "d").status == 0


def test_words_and_seed_decide(pipeline_folder: Path, own: tuple[Architecture, Graph]) -> None:
    first = drawn(pipeline_folder, own=own)
    assert states_equal(first, drawn(pipeline_folder, ["sepia", "sepia"], own=own))
    assert not states_equal(first, drawn(pipeline_folder, seed=1, own=own))
    assert not states_equal(first, drawn(pipeline_folder, "pencil sketch", own=own))
    assert not states_equal(first, drawn(pipeline_folder, ["sepia", "old photograph"], own=own))


def test_the_best_of_several_draws_is_nearest_to_the_pairs(
    pipeline_folder: Path, own: tuple[Architecture, Graph], tmp_path: Path
) -> None:
    from paramgen.diffusion.choosing import distance, pairs_of
    from paramgen.diffusion.loading import open_pipeline

    for part, colour in (("input", (200, 100, 0)), ("target", (0, 100, 200))):
        (tmp_path / part).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8), tuple(value // (number + 1) for value in colour)).save(
                tmp_path / part / f"{number}.png"
            )
    pipeline = open_pipeline(str(pipeline_folder)).pipeline
    pairs = pairs_of(tmp_path, pipeline.base)
    assert float(pairs[0][0, 0].mean()) == pytest.approx(200 / 127.5 - 1)
    best = distance(pipeline, drawn(pipeline_folder, more=f"?best_of=4&pairs={tmp_path}", own=own), pairs)
    assert best < distance(pipeline, drawn(pipeline_folder, own=own), pairs)
    (tmp_path / "target" / "1.png").unlink()
    with pytest.raises(OptionError, match=r"input/1\.png, but no target/1\.png"):
        drawn(pipeline_folder, more=f"?best_of=4&pairs={tmp_path}", own=own)


def test_another_architecture_is_refused_with_the_difference(pipeline_folder: Path) -> None:
    init = f"diffusion:{pipeline_folder}"
    with pytest.raises(ArchitectureError, match=r"'conv_in.bias' is missing.*Leave arch out"):
        paramgen.predict(torch.nn.Linear(2, 2), init=init, prompt="sepia")
    spec = initializer_of(f"{init}?prompt=sepia").own_architecture()
    with pytest.raises(ArchitectureError, match=r"has the shape \(8.*instead of \(4"):
        paramgen.predict(spec, init=init, prompt="sepia", overrides={"block_out_channels": [8]})


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("diffusion:{}", "diffusion needs a prompt"),
        ("diffusion:{}?prompt=sepia&steps=0", "steps is 0"),
        ("diffusion:{}?prompt=sepia&guidance=-1.0", "guidance is -1"),
        ("diffusion:{}?prompt=sepia&best_of=3", "to choose by"),
        ("diffusion:{}?prompt=sepia&best_of=3&pairs=/nowhere", "no folder"),
        ("diffusion:nowhere/at-all?prompt=sepia", "No pipeline 'nowhere/at-all'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    init: str, said: str, pipeline_folder: Path, own: tuple[Architecture, Graph]
) -> None:
    with pytest.raises(ParamgenError, match=said) as refusal:
        initializer = initializer_of(init.format(pipeline_folder))
        initializer.describe()
        list(initializer.tensors(*own, seed=0))
    assert "\n" not in str(refusal.value)


def test_the_command_refuses_in_one_line(pipeline_folder: Path, tmp_path: Path, command: Command) -> None:
    init = f"diffusion:{pipeline_folder}"
    assert "has no words" in command("predict", "--init", init, "--prompt", " ").refusal
    assert "prompts are given" in command("predict", "--init", f"{init}?prompt=3").refusal
    assert "whole numbers" in command("predict", "--init", f"{init}?prompt=sepia&steps=many").refusal
    assert "10,000 characters" in command("predict", "--init", init, "--prompt", "a" * 10_000).refusal
    assert "takes no prompt" in command("predict", "--init", "he", "--prompt", "sepia").refusal
    assert "Type: --arch" in command("predict", "--init", "he").refusal
    assert not list(tmp_path.iterdir())


def test_prompts_become_part_of_the_start_by_name() -> None:
    assert complete_spec("auto", prompt="a & b?") == 'diffusion?prompt="a \\u0026 b?"'
    assert complete_spec("diffusion:x?steps=2", prompt=["1", "true"]) == 'diffusion:x?steps=2&prompt=["1", "true"]'
    with pytest.raises(OptionError, match="Leave one of them out"):
        complete_spec("diffusion?prompt=a", prompt="b")
