import pytest
import torch
from PIL import Image

from benchmarks.initialization.evaluate import Budget, HeldOutNetwork, measure, summary
from benchmarks.initialization.evaluate_networks import library_networks
from benchmarks.provenance import provenance
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.hypernet import Hypernet
from training import evaluation
from training.data.images import Images, Split, load_images
from training.recipes import smoke
from training.spaces import pool
from training.targets import TargetNetwork, view_of, view_of_design


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[Split, Images]:
    root = tmp_path_factory.mktemp("set")
    for split in ("train", "test"):
        for number in range(10):
            place = root / split / f"class{number}"
            place.mkdir(parents=True)
            for index in range(4):
                Image.new("RGB", (16, 16), (25 * number, 128, 255 - 25 * number)).save(place / f"{index}.png")
    return {split: load_images(root, split, 16, root.parent / "cache") for split in ("train", "test")}


def network() -> HeldOutNetwork:
    design = next(design for design in pool(3, 4, among=("vgg",)) if design.resolution == 16)
    return HeldOutNetwork("a network", 16, design.build)


def test_an_untrained_departure_measures_as_the_library(images: dict[Split, Images]) -> None:
    budget = Budget(seeds=2, steps=2, batch=8, test_images=40, lr=(1e-3, 1e-2))
    config = smoke.config().hypernet
    assert isinstance(config, HypernetConfig)
    row = measure(Hypernet(config), network(), images, budget)
    assert row.zero_shot["hypernet"] == row.zero_shot["library"]
    assert row.trained["hypernet"] == row.trained["library"]
    assert set(row.trained["library"]) == {"0.001", "0.01"}
    assert len(row.zero_shot["library"].values) == 2
    found = summary([row])
    assert found["trained_wins_or_ties"] == 1.0
    assert found["trained_library"] == row.to_json()["best"]["library"]["mean"]


def test_training_learns_and_leaves_the_initial_weights_alone(images: dict[Split, Images]) -> None:
    design = next(design for design in pool(3, 4, among=("vgg",)) if design.resolution == 16)
    target = TargetNetwork.of(design.build, view_of_design(design), seed=0, device=torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in target.state.items()}
    reached = evaluation.fine_tune(target.network, target.state, images["train"], steps=30, lr=3e-3, batch=20, seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state.items())
    first, last = (evaluation.accuracy(target.network, s, images["test"].batches(40)) for s in (before, reached))
    assert last > first and last > 0.3


def test_results_say_where_they_come_from() -> None:
    found = provenance()
    assert found["commit"] and found["hardware"]["cores"] >= 1 and found["versions"]["torch"] == torch.__version__


@pytest.mark.slow
def test_library_networks_build_and_trace() -> None:
    for name, resolution, build in library_networks():
        assert len(view_of(build, torch.zeros(2, 3, resolution, resolution, device="meta")).requests) > 10, name
