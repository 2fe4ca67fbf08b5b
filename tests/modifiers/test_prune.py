"""Pruning and freezing: counts are exact, criteria follow their papers, and what cannot be is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import paramgen
from paramgen.errors import OptionError, ParamgenError
from paramgen.modifiers.masking.holding import Masking
from paramgen.modifiers.masking.masks import best_masks, erk_densities, packed, sampled_scores, unpacked
from paramgen.prediction import Prediction

if TYPE_CHECKING:
    from conftest import Command

EXAMPLE = torch.zeros(2, 1, 8, 8)
SIZES = (64, 32, 32, 4)


def dense(bias: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip(SIZES, SIZES[1:], strict=False):
        layers += [nn.Linear(before, after, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes, told apart by which quarter is bright."""
    folder = tmp_path_factory.mktemp("classes")
    pixels = np.random.default_rng(0)
    for label in range(4):
        (folder / str(label)).mkdir()
        for index in range(12):
            image = pixels.integers(0, 60, (8, 8), dtype=np.uint8)
            image[label // 2 * 4 :, label % 2 * 4 :][:4, :4] += 180
            Image.fromarray(image).save(folder / str(label) / f"{index}.png")
    return folder


def predicted(
    spec: str, *, seed: int = 0, module: Callable[[], nn.Module] = dense
) -> tuple[Prediction, dict[str, Any]]:
    prediction = paramgen.predict(module(), init=spec, example_input=EXAMPLE, seed=seed, progress=False)
    return prediction, prediction.state_dict()


def masks_of(prediction: Prediction) -> dict[str, Tensor]:
    found = prediction.initializer.constraint()
    assert isinstance(found, Masking)
    return dict(found.masks)


WHOLE = sum(before * after for before, after in zip(SIZES, SIZES[1:], strict=False))


@pytest.mark.parametrize("keep", [1, 0.5, 0.05, 0.003])
@pytest.mark.parametrize("criterion", ["random", "magnitude", "snip", "grasp", "synflow"])
def test_exactly_the_share_requested_is_kept(criterion: str, keep: float, classes: Path) -> None:
    data = f"&data={classes}" if criterion in ("snip", "grasp") else ""
    prediction, tensors = predicted(f"he|prune:{criterion}?keep={keep}&steps=20{data}")
    masks = masks_of(prediction)
    assert set(masks) == {"1.weight", "3.weight", "5.weight"}
    assert sum(int(mask.sum()) for mask in masks.values()) == round(keep * WHOLE)
    for name, mask in masks.items():
        assert torch.equal(tensors[name] != 0, mask)


def wide() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 4),
    )


def test_synflow_keeps_a_way_through_where_magnitude_cuts_it() -> None:
    few, _ = predicted("he|prune:magnitude?keep=0.003", module=wide)
    assert any("No weight of '7.weight' is kept, so nothing goes through" in remark for remark in few.remarks)
    kept, tensors = predicted("he|prune:synflow?keep=0.003&rescale=none", module=wide)
    assert all(bool(mask.any()) for mask in masks_of(kept).values())
    assert not any("nothing goes through" in remark for remark in kept.remarks)
    module = wide()
    module.load_state_dict({name: tensor.abs() for name, tensor in tensors.items()})  # no ReLU closes a way
    assert float(module(torch.ones(1, 1, 8, 8)).detach().max()) > 0


def test_strict_refuses_a_mask_that_empties_a_layer(command: "Command") -> None:
    typed = ["predict", "--arch", f"{__file__}:wide", "--example-input", "2x1x8x8", "--init", "he", "--out", "few"]
    refused = command(*typed, "--then", "prune?keep=0.003", "--strict")
    assert "No weight of '7.weight' is kept" in refused.refusal and "Or leave --strict out" in refused.refusal
    assert not Path("few").exists()
    module = wide()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    options: Any = {"init": "he", "example_input": EXAMPLE, "strict": True, "progress": False}
    with pytest.raises(OptionError, match="Or leave strict=True out"):
        paramgen.initialize_(module, then=["prune?keep=0.003"], **options)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    paramgen.initialize_(module, then=["prune?keep=0.5"], **options)
    assert not torch.equal(module.state_dict()["1.weight"], before["1.weight"])


def test_snip_is_the_weight_times_its_gradient(classes: Path) -> None:
    """Against autograd on the very images, read here once more."""
    from paramgen.images.batch import labelled_images

    prediction, _ = predicted(f"he|prune:snip?keep=0.1&rescale=none&data={classes}&batch=1000")
    module = dense()
    module.load_state_dict(predicted("he")[1])
    images, labels = labelled_images(classes, (1000, 1, 8, 8))
    nn.functional.cross_entropy(module(images), labels).backward()
    names = ["1.weight", "3.weight", "5.weight"]
    weights = dict(module.named_parameters())
    scores = torch.cat([(weights[name] * weights[name].grad).abs().flatten() for name in names])  # type: ignore[operator]
    best = scores.topk(round(0.1 * WHOLE)).indices.sort().values
    found = torch.cat([masks_of(prediction)[name].flatten() for name in names]).nonzero().flatten()
    assert len(set(best.tolist()) ^ set(found.tolist())) <= 4  # sums of another order


def test_a_measured_rescaling_gives_each_layer_the_variance_that_it_had() -> None:
    def variances(tensors: dict[str, Any]) -> list[float]:
        module, found = dense(bias=False), []
        module.load_state_dict(tensors)
        states = torch.randn(4096, 1, 8, 8, generator=torch.Generator().manual_seed(3))
        for layer in module:
            states = layer(states)
            if isinstance(layer, nn.Linear):
                found.append(float(states.detach().var()))
        return found

    def unbiased() -> nn.Module:
        return dense(bias=False)

    whole = variances(predicted("he", module=unbiased)[1])
    plain = variances(predicted("he|prune:random?keep=0.2&rescale=none", module=unbiased)[1])
    measured = variances(predicted("he|prune:random?keep=0.2", module=unbiased)[1])
    assert plain[-1] < 0.1 * whole[-1]
    assert measured == pytest.approx(whole, rel=0.5)


def test_a_mean_field_rescaling_keeps_the_norm_of_each_weight() -> None:
    before, after = predicted("he")[1], predicted("he|prune:random?keep=0.2&rescale=meanfield")[1]
    for name in ("1.weight", "3.weight", "5.weight"):
        assert float(after[name].norm()) == pytest.approx(float(before[name].norm()), rel=1e-5)


def test_freezing_changes_no_value(classes: Path) -> None:
    prediction, tensors = predicted(f"he|freeze?keep=0.05&data={classes}")
    before = predicted("he")[1]
    assert all(torch.equal(tensors[name], before[name]) for name in before)
    assert sum(int(mask.sum()) for mask in masks_of(prediction).values()) == round(0.05 * WHOLE)
    assert "are to be trained" in " ".join(prediction.remarks)


def test_what_is_all_zero_is_neither_pruned_nor_counted() -> None:
    arch, init = f"{__file__}:Residual", "rezero|prune:random?keep=0.1"
    prediction = paramgen.predict(arch, init=init, example_input=EXAMPLE, progress=False)
    tensors = prediction.state_dict()
    masks = masks_of(prediction)
    assert set(masks) == {"stem.weight", "inner.weight", "head.weight"}
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.1 * (64 * 32 + 32 * 32 + 32 * 4))
    assert not bool(tensors["branch.weight"].any())


class Residual(nn.Module):
    """Its branch ends in zeros under `rezero`, which are to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.branch, self.head = (
            nn.Linear(64, 32),
            nn.Linear(32, 32),
            nn.Linear(32, 32),
            nn.Linear(32, 4),
        )

    def forward(self, images: Tensor) -> Tensor:
        states = self.stem(images.flatten(1))
        return self.head(states + self.branch(self.inner(states).relu()))


def test_nothing_but_zeros_to_choose_from_is_refused() -> None:
    with pytest.raises(ParamgenError, match="'prune' changes nothing: every weight that it may change is zero"):
        predicted("rezero|prune:random?keep=0.1", module=Residual)  # what else a live module holds is kept


def test_only_a_part_of_a_prediction_has_the_same_zeros() -> None:
    prediction, tensors = predicted("he|prune:synflow?keep=0.1")
    ((name, tensor),) = prediction.only(["3.weight"])
    assert name == "3.weight"
    assert torch.equal(tensor, tensors["3.weight"])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("he|prune?keep=0", "keep is 0. Allowed: a number above 0, up to 1"),
        ("he|prune?keep=1.5", "keep is 1.5"),
        ("he|prune?keep=true", "keep is True"),
        ("he|prune:synflow?steps=0", "steps is 0. Allowed: 1 to 1,000"),
        ("he|prune:snip", "snip needs images and their classes"),
        ("he|prune:snip?data=nowhere", "There is no folder 'nowhere'"),
        ("he|prune?data=photos", "magnitude looks at no data"),
        ("he|prune:grasp?mask=sampled&data=photos", "of which none can be sampled"),
        ("he|prune|lowrank", "'lowrank' undoes the zeros of 'prune'"),
        ("he|prune|prune", "'prune' undoes the zeros of 'prune'"),
        ("he|prune|freeze?by=random", "undoes the zeros"),
        ("he|freeze", "gradient needs images and their classes"),
        ("he|freeze?by=random&keep=2", "keep is 2"),
    ],
)
def test_what_cannot_be_is_refused(spec: str, said: str) -> None:
    with pytest.raises(ParamgenError, match="(?s)") as refused:
        predicted(spec)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_more_classes_than_outputs_are_refused(classes: Path) -> None:
    def narrow() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    with pytest.raises(ParamgenError, match=r"answers with \(3,\) numbers an image, and .* has 4 classes"):
        predicted(f"he|prune:snip?data={classes}", module=narrow)


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.floats(0.001, 1), st.integers(0, 5))
def test_masks_have_the_best_scores_and_survive_packing(sizes: list[int], keep: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = {str(index): torch.randint(5, (size,), generator=generator).float() for index, size in enumerate(sizes)}
    masks = best_masks(scores, keep)
    assert sum(int(mask.sum()) for mask in masks.values()) == max(1, round(keep * sum(sizes)))
    flat, chosen = torch.cat(list(scores.values())), torch.cat(list(masks.values()))
    assert bool(chosen.all()) or float(flat[chosen].min()) >= float(flat[~chosen].max())
    for mask in masks.values():
        assert torch.equal(unpacked(packed(mask), tuple(mask.shape)), mask)


def test_small_layers_keep_more_by_erk() -> None:
    scores = {"small": torch.rand(4, 4), "middle": torch.rand(64, 64, 3, 3), "large": torch.rand(512, 512)}
    densities = erk_densities(scores, 0.02)
    assert densities["small"] == 1 > densities["large"]
    sizes = {name: each.numel() for name, each in scores.items()}
    assert sum(densities[name] * sizes[name] for name in sizes) == pytest.approx(0.02 * sum(sizes.values()))
    ratio = densities["middle"] / densities["large"]
    assert ratio == pytest.approx((64 + 64 + 3 + 3) / (64 * 64 * 9) / ((512 + 512) / (512 * 512)))


def test_a_sample_is_drawn_in_proportion_to_the_scores() -> None:
    scores = {"a": torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)}
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(3)
    for _ in range(2000):
        counts += best_masks(sampled_scores(scores, generator), 1 / 3)["a"]
    assert counts[0] == 0
    assert float(counts[2] / counts.sum()) == pytest.approx(0.75, abs=0.03)
