"""Training over a zoo: it is resumed bit for bit, learns what there is to learn, and leaves a pipeline that works."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer import Exit

from checkpoints.index import index
from checkpoints.writing import write_layout, write_shard
from paramgen.diffusion.loading import open_pipeline
from paramgen.diffusion.text import MINILM, REVISION, text_encoder
from paramgen.errors import OptionError
from paramgen.zoo import Row, ZooLayout
from paramgen.zoo.hashes import content_sha256
from tests.conftest import Command
from tests.support.diffusion import network
from tests.support.killing import KILLED
from training import checkpoint
from training.__main__ import main, recipe
from training.config import Optimization
from training.export import export
from training.weights.config import Blocks, Denoiser, WeightsConfig
from training.weights.loop import WeightsRun

ROOT = Path(__file__).parents[2]

COLOURS = "red orange yellow green blue violet grey brown".split()
LOOKS = "blurred bright faded sharp".split()
TASKS = [f"{colour} and {look}" for colour in COLOURS for look in LOOKS]
HELD = {"red and sharp", "green and faded", "brown and bright"}
SLOTS = ("conv_in.bias", "conv_out.weight")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that are a random linear function of the embedding of their words, and a little noise."""
    folder = tmp_path_factory.mktemp("zoos") / "linear"
    base = {name: tensor.detach() for name, tensor in network().state_dict().items()}
    base_config: Any = network().config
    config = {key: value for key, value in dict(base_config).items() if not key.startswith("_")}
    layout = ZooLayout(spec="diffusers:UNet2DModel", config=config, kind="translation", form="full")
    write_layout(folder, layout, base)
    draw = torch.Generator().manual_seed(0)
    embeddings = text_encoder(MINILM, REVISION)(TASKS)
    maps = {name: torch.randn(base[name].numel(), 384, generator=draw) for name in SLOTS}
    made = []
    for number, task in enumerate(TASKS):
        own = {name: (maps[name] @ embeddings[number]).view(base[name].shape) for name in SLOTS}
        own = {name: each + 0.02 * torch.randn(each.shape, generator=draw) for name, each in own.items()}
        tensors = {**base, **own}
        made.append((_row(number, task, layout, tensors), tensors))
    write_shard(folder, "00000.safetensors", made)
    index(folder)
    return folder


def _row(number: int, task: str, layout: ZooLayout, tensors: dict[str, torch.Tensor]) -> Row:
    return Row(
        id=f"task-{number}",
        task=task.replace(" ", "-"),
        split="validation" if task in HELD else "train",
        texts=(task,),
        seed=0,
        steps=1,
        shard="00000.safetensors",
        form="full",
        metrics={},
        licence="Apache-2.0",
        source="test",
        revision="0",
        architecture_sha256=layout.architecture_sha256,
        content_sha256=content_sha256(tensors),
    )


def small(steps: int = 12, **changes: Any) -> WeightsConfig:
    return WeightsConfig(
        optimization=Optimization(steps=steps, batch=16, lr=3e-3, warmup=5, average=0.98),
        blocks=Blocks(width=8, components=24, whitening=0.5),
        denoiser=Denoiser(hidden=32, depth=1, heads=2, dropout=0.1),
        evaluate_every=4,
        save_every=0.0,
        **changes,
    )


def seen(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same(one: Path, other: Path) -> bool:
    first, second = checkpoint.average(one), checkpoint.average(other)
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.fixture(scope="module")
def whole(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    WeightsRun(small(), folder, zoo, resume=False).run()
    return folder


def test_resuming_repeats_what_was_lost_and_ends_alike(whole: Path, zoo: Path, tmp_path: Path) -> None:
    run = WeightsRun(small(), tmp_path / "run", zoo, resume=False)
    for _ in range(4):
        run.advance()
    run.save()
    run.advance()  # logged, then lost
    WeightsRun(small(), tmp_path / "run", zoo, resume=True).run()
    steps = [line for line in seen(whole) if "loss" in line]
    assert [line for line in seen(tmp_path / "run") if "loss" in line] == steps
    assert [line["step"] for line in steps] == list(range(12))
    assert same(tmp_path / "run", whole)


def test_a_run_goes_on_with_its_own_zoo_and_recipe_only(whole: Path, zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--resume to continue"):
        WeightsRun(small(), whole, zoo, resume=False)
    with pytest.raises(OptionError, match="not this recipe"):
        WeightsRun(small(seed=1), whole, zoo, resume=True)
    shard = zoo / "shards" / "00000.safetensors"
    content = shard.read_bytes()
    try:
        shard.write_bytes(content[:-40] + bytes(40))  # the last checkpoint is damaged, and skipped
        with pytest.raises(OptionError, match="not the zoo that the run had"):
            WeightsRun(small(), whole, zoo, resume=True)
    finally:
        shard.write_bytes(content)


def test_options_of_hypernets_are_refused(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit):
        main("weights", tmp_path / "run", [str(zoo)], keep_every=5)
    assert "--keep-every is for hypernets" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "prediction",
    [
        pytest.param("sample", marks=pytest.mark.slow),
        pytest.param("v_prediction", marks=pytest.mark.thorough),
        pytest.param("flow", marks=pytest.mark.thorough),
    ],
)
def test_unseen_words_give_the_weights_that_belong_to_them(prediction: Any, zoo: Path, tmp_path: Path) -> None:
    config = replace(small(300, prediction=prediction), evaluate_every=300)
    WeightsRun(config, tmp_path / "run", zoo, resume=False).run()
    evaluations = next(line["evaluation"] for line in seen(tmp_path / "run") if "evaluation" in line)
    assert evaluations["denoised"] < 0.9 and evaluations["denoised"] < evaluations["nearest"]
    export(tmp_path / "run", tmp_path / "pipeline", data=zoo)
    pipeline = open_pipeline(str(tmp_path / "pipeline")).pipeline
    drawn: Any = pipeline("red and sharp", num_inference_steps=4, generator=torch.Generator().manual_seed(0))
    assert drawn.states[0].keys() == pipeline.base.state_dict().keys()
    text, similarity = pipeline.prompts.nearest(pipeline.embed("blue and bright")[0])[0]
    assert text == "blue and bright" and similarity > 0.99


@pytest.mark.slow
def test_a_killed_process_resumes_bit_for_bit(whole: Path, zoo: Path, tmp_path: Path, command: Command) -> None:
    lines = "import sys, training.recipes.weights as w; from tests.training.test_weights import small; w.config = small"
    code = f"{lines}; from training.__main__ import main; import typer; typer.run(main)"
    arguments = ["weights", "--out", str(tmp_path / "killed"), "--data", str(zoo)]
    killed = subprocess.run([sys.executable, "-c", f"{KILLED.format(lines=3)}{code}", *arguments])
    assert killed.returncode == -signal.SIGKILL
    assert len((tmp_path / "killed" / "log.jsonl").read_text().splitlines()) == 3
    done = command(*arguments, "--resume", code=f"import os; os.chdir({str(ROOT)!r}); {code}", alone=True)
    assert done.status == 0, done
    assert [line for line in seen(tmp_path / "killed") if "loss" in line] == [
        line for line in seen(whole) if "loss" in line
    ]
    assert same(tmp_path / "killed", whole)


def test_recipes_have_a_json_form() -> None:
    config = recipe("weights")
    assert isinstance(config, WeightsConfig)
    assert json.loads(config.to_json())["prediction"] == config.prediction
