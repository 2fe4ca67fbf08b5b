from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from paramgen.errors import HypernetError
from paramgen.graphs.views.view import SlotRequest, View
from paramgen.hypernets import hypernet as module
from paramgen.hypernets.config import HypernetConfig, first_light
from paramgen.hypernets.hypernet import Hypernet


@pytest.fixture
def native(residual_config: HypernetConfig) -> Hypernet:
    torch.manual_seed(0)
    return Hypernet(residual_config).eval()


@pytest.fixture
def absolute(published: HypernetConfig) -> Hypernet:
    torch.manual_seed(0)
    return Hypernet(published).eval()


def open_gates(hypernet: Hypernet, scale: float = 0.0, gate: float = 1.0) -> None:
    assert hypernet.residual is not None
    hypernet.residual.head.bias.data = torch.tensor([scale, gate])


def test_an_untrained_hypernet_returns_the_start_exactly(
    native: Hypernet, view: View, default: dict[str, Tensor]
) -> None:
    with torch.no_grad():
        weights = list(native(view, default.__getitem__))
    assert sorted(name for name, _ in weights) == sorted(default)
    for name, weight in weights:
        assert torch.equal(weight, default[name]) and weight.is_contiguous()


def test_prediction_leaves_the_default_untouched(native: Hypernet, view: View, default: dict[str, Tensor]) -> None:
    open_gates(native)
    before = {name: tensor.clone() for name, tensor in default.items()}
    with torch.no_grad():
        weights = dict(native(view, default.__getitem__))
    assert all(torch.equal(default[name], before[name]) for name in before)
    assert not any(torch.equal(weights[name], before[name]) for name in before)


def test_a_residual_rescales_and_adds(native: Hypernet, view: View, default: dict[str, Tensor]) -> None:
    zeros = {name: torch.zeros_like(tensor) for name, tensor in default.items()}
    with torch.no_grad():
        open_gates(native)
        directions = dict(native(view, zeros.__getitem__))
        open_gates(native, scale=1.0, gate=0.5)
        weights = dict(native(view, default.__getitem__))
    factor = torch.tensor(0.5).tanh().mul(2).exp()
    torch.testing.assert_close(
        weights["conv.weight"], default["conv.weight"] * factor + 0.5 * directions["conv.weight"]
    )
    torch.testing.assert_close(weights["norm.bias"], default["norm.bias"] + 0.5 * directions["norm.bias"])
    assert directions["norm.bias"].abs().max() <= 1


def test_with_and_without_gradients_the_weights_are_the_same(
    native: Hypernet, absolute: Hypernet, view: View, default: dict[str, Tensor]
) -> None:
    open_gates(native, scale=-0.5)
    for hypernet, seen in ((native, view), (absolute, replace(view, vocabulary="published"))):
        with torch.no_grad():
            quick = dict(hypernet(seen, default.__getitem__))
        for name, weight in hypernet(seen, default.__getitem__):
            assert weight.requires_grad
            torch.testing.assert_close(weight, quick[name])


def test_gradients_reach_every_part(native: Hypernet, view: View, default: dict[str, Tensor]) -> None:
    open_gates(native.train(), gate=0.3)
    sum((weight**2).sum() for _, weight in native(view, default.__getitem__)).backward()
    for name, parameter in native.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_batches_of_one_slot_give_the_same_weights(
    absolute: Hypernet, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = replace(view, vocabulary="published")
    with torch.no_grad():
        whole = dict(absolute(seen))
        monkeypatch.setattr(module, "_MAX_DECODED", 1)
        single = dict(absolute(seen))
    for name, weight in whole.items():
        torch.testing.assert_close(single[name], weight)


def test_rows_that_are_inputs_are_predicted_transposed(native: Hypernet, view: View) -> None:
    open_gates(native)
    turned = replace(view.requests[3], shape=(40, 24), in_out=False)
    with torch.no_grad():
        weight = dict(native(view, lambda slot: torch.zeros({r.slot: r.shape for r in view.requests}[slot])))
        straight = dict(native(replace(view, requests=(turned,)), lambda slot: torch.zeros(40, 24)))
    torch.testing.assert_close(weight["linear.weight"], straight["linear.weight"].T)


def test_every_published_role_is_filled(absolute: Hypernet, view: View) -> None:
    requests = (
        *view.requests,
        SlotRequest("table", 3, "embedding", (50, 12)),
        SlotRequest("position", 5, "position", (1, 17, 12)),
        SlotRequest("head.weight", 3, "class_weight", (10, 24)),
        SlotRequest("head.bias", 4, "class_bias", (10,)),
    )
    seen = replace(view, requests=requests, vocabulary="published")
    with torch.no_grad():
        weights = dict(absolute(seen))
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == {r.slot: r.shape for r in requests}
    assert (weights["norm.weight"] - 1).abs().max() < 1 and weights["norm.weight"].mean() > 0.5


def test_position_tables_take_the_class_token_from_the_default(absolute: Hypernet, view: View) -> None:
    request, table = SlotRequest("position", 5, "position", (1, 17, 12)), torch.randn(1, 17, 12)
    seen = replace(view, requests=(request,), vocabulary="published")
    with torch.no_grad():
        assert torch.equal(dict(absolute(seen, lambda slot: table))["position"][:, :1], table[:, :1])
        first, second = (dict(absolute(seen))["position"] for _ in range(2))
    assert torch.equal(first, second)


def test_fills_only_its_roles(native: Hypernet, residual_config: HypernetConfig, view: View) -> None:
    hypernet = Hypernet(replace(residual_config, roles=("scale",)))
    assert [request.slot for request in hypernet.requests(view)] == ["norm.weight"]
    assert len(native.requests(view)) == 6


def test_new_directions_have_the_size_of_he_initialization(view: View) -> None:
    torch.manual_seed(0)
    hypernet = Hypernet(first_light()).eval()
    open_gates(hypernet)
    request = SlotRequest("linear", 3, "weight", (256, 512))
    with torch.no_grad():
        weight = dict(hypernet(replace(view, requests=(request,)), lambda slot: torch.zeros(256, 512)))["linear"]
    assert 0.6 < float(weight.pow(2).mean().sqrt()) / (2 / 512) ** 0.5 < 1.6


def test_refuses_a_graph_in_another_vocabulary(native: Hypernet, view: View, default: dict[str, Tensor]) -> None:
    with pytest.raises(HypernetError, match="published vocabulary; this hypernet reads the native one"):
        native(replace(view, vocabulary="published"), default.__getitem__)


def test_a_residual_needs_a_default_of_the_right_shape(native: Hypernet, view: View) -> None:
    with pytest.raises(HypernetError, match="pass `base`"):
        native(view)
    with pytest.raises(HypernetError, match=r"default initialization of 'conv.weight' is of shape \(2,\)"):
        list(native(view, lambda slot: torch.zeros(2)))


def test_predictions_that_are_not_finite_are_refused_except_in_training(
    native: Hypernet, view: View, default: dict[str, Tensor]
) -> None:
    open_gates(native)
    decoder: Any = native.decoder
    decoder.expand.weight.data.fill_(float("nan"))
    with torch.no_grad(), pytest.raises(HypernetError, match=r"not finite for 'conv.weight'"):
        list(native(view, default.__getitem__))
    assert len(list(native.train()(view, default.__getitem__))) == 6
