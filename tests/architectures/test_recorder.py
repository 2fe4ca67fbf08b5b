"""The recorder: whatever a constructor does, its values come back from the seed, and nothing real is allocated."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from paramgen.architectures import recorder
from paramgen.architectures.recorder import record
from paramgen.errors import ArchitectureError
from paramgen.slots.init_program import InitProgram, slot_generator

TABLE = torch.linspace(0, 1, 5)  # made before anybody records


def module(fill: Callable[[nn.Module], object]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        made = nn.Module()
        fill(made)
        return made

    return build


def starts(programs: dict[str, InitProgram], seed: int = 0) -> dict[str, Tensor]:
    return {name: program(slot_generator(seed, name)) for name, program in programs.items()}


def drawn(fill: Callable[[nn.Module], object]) -> dict[str, Tensor]:
    made, programs = record(module(fill))
    assert all(tensor.is_meta for tensor in made.state_dict().values())
    first = starts(programs)
    backwards = dict(reversed(programs.items()))
    assert all(torch.equal(first[name], value) for name, value in starts(backwards).items())
    for name, tensor in made.state_dict(keep_vars=True).items():
        value = first.get(name)
        assert value is None or (value.shape, value.dtype) == (tensor.shape, tensor.dtype)
    return first


def with_trunc_normal(dtype: torch.dtype, size: int = 200_000, **options: Any) -> Tensor:
    def fill(made: nn.Module) -> None:
        made.weight = nn.Parameter(torch.empty(size, dtype=dtype))
        nn.init.trunc_normal_(made.weight, **options)

    return drawn(fill)["weight"].double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_truncated_normals_have_no_outliers(dtype: torch.dtype) -> None:
    values = with_trunc_normal(dtype, std=0.02)  # cut at 2, a hundred standard deviations out
    assert values.std().item() == pytest.approx(0.02, rel=0.01)
    assert values.abs().max().item() < 0.02 * 6
    assert abs(values.mean().item()) < 1e-4


def test_truncated_normals_are_cut_where_asked() -> None:
    values = with_trunc_normal(torch.float32, mean=0.1, std=0.5, a=-1, b=0.7)
    reference = nn.init.trunc_normal_(torch.empty(200_000), 0.1, 0.5, -1, 0.7).double()
    assert values.min().item() >= -1 and values.max().item() <= 0.7
    assert values.mean().item() == pytest.approx(reference.mean().item(), abs=3e-3)
    assert values.std().item() == pytest.approx(reference.std().item(), rel=0.01)
    assert with_trunc_normal(torch.float32, 4, mean=3.0, std=0.0).tolist() == [2.0] * 4


def test_the_ends_of_the_uniform_distribution_are_no_outliers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "uniform_", lambda self, low, high: self.fill_(low))  # once in 2**24 draws
    assert recorder._truncated_normal(torch.empty(3), 0.0, 0.02, -2.0, 2.0).abs().max().item() < 0.02 * 6


def orthogonal(made: nn.Module) -> None:
    made.linear = nn.Linear(8, 16)
    nn.init.orthogonal_(made.linear.weight, gain=2.0)


def test_orthogonal_is_orthogonal() -> None:
    weight = drawn(orthogonal)["linear.weight"]
    torch.testing.assert_close(weight.T @ weight, 4 * torch.eye(8))


def test_special_initializers() -> None:
    def fill(made: nn.Module) -> None:
        made.conv = nn.Conv2d(4, 4, 3)
        made.sparse = nn.Linear(20, 30)
        made.embed = nn.Embedding(10, 6, padding_idx=3)
        nn.init.dirac_(made.conv.weight)
        nn.init.sparse_(made.sparse.weight, 0.3)

    first = drawn(fill)
    assert torch.equal(first["conv.weight"], nn.init.dirac_(torch.empty(4, 4, 3, 3)))
    assert ((first["sparse.weight"] == 0).sum(0) == 9).all()
    assert not first["embed.weight"][3].any() and first["embed.weight"][4].all()


def test_values_through_views_data_and_casts() -> None:
    def fill(made: nn.Module) -> None:
        made.linear = nn.Linear(6, 9)
        with torch.no_grad():
            made.linear.weight[:3].zero_()
            made.linear.weight.view(3, 3, 6)[1].fill_(2)
            made.linear.bias.chunk(3)[2].normal_(50, 0.1)
        made.swapped = nn.Linear(5, 7)
        made.swapped.weight.data = torch.full((7, 5), 3.0)
        made.half = nn.Linear(64, 64).half()
        made.swapped_twice = nn.Linear(64, 64).half()
        made.double = nn.Linear(64, 64).double()
        made.scaled = nn.Linear(64, 64)
        made.scaled.weight.data.div_(1000)
        with torch.no_grad():
            made.swapped_twice.weight.mul_(8)
        base = torch.arange(10.0).view(5, 2)
        made.tail = nn.Parameter(base[3:])

    first = drawn(fill)
    assert first["linear.weight"][:6].unique().tolist() == [0, 2]
    assert first["linear.bias"][6:].mean().item() == pytest.approx(50, abs=1)
    assert torch.equal(first["swapped.weight"], torch.full((7, 5), 3.0))
    for name, dtype in (("half", torch.float16), ("double", torch.float64)):
        assert first[f"{name}.weight"].dtype == dtype
        assert first[f"{name}.weight"].double().std().item() == pytest.approx(0.125 / 3**0.5, rel=0.1)
    assert first["swapped_twice.weight"].double().std().item() == pytest.approx(1 / 3**0.5, rel=0.1)
    assert first["scaled.weight"].abs().max() < 0.125e-3
    assert first["tail"].tolist() == [[6, 7], [8, 9]]


def test_constants_keep_their_values() -> None:
    hanning = np.hanning(7).astype("f4")

    def fill(made: nn.Module) -> None:
        made.register_buffer("given", TABLE)
        made.register_buffer("array", torch.from_numpy(hanning))
        made.register_buffer("scaled", torch.from_numpy(hanning.copy()).mul_(2))
        made.register_buffer("literal", torch.tensor([1.5, -2.0]))
        made.register_buffer("flag", torch.tensor(True))
        made.register_buffer("waves", torch.polar(torch.ones(4), torch.arange(4.0)))
        rates = [rate.item() for rate in torch.linspace(0, 0.3, 4)]  # reads values back
        made.register_buffer("rates", torch.tensor(rates))
        made.register_buffer("table", torch.tensor(np.asarray(torch.arange(6))))
        made.eye = nn.Parameter(torch.from_numpy(np.eye(4, dtype="f4")) * 2)

    first, real = drawn(fill), module(fill)().state_dict()
    assert first.keys() == real.keys()
    assert [name for name, value in real.items() if not torch.equal(first[name], value)] == []


def test_a_device_that_a_constructor_asks_for_changes_nothing() -> None:
    def fill(made: Any) -> None:
        made.weight = nn.Parameter(torch.randn(50, 50, device="cpu"))
        made.linear = nn.Linear(64, 64, device="cpu")
        made.tied = made.linear
        made.register_buffer("steps", torch.arange(6, device="cpu"))
        made.size = int(torch.zeros(3, device="cpu").tolist()[0])  # values are there when they are asked for

    before = torch.get_rng_state()
    first = drawn(fill)
    assert torch.equal(torch.get_rng_state(), before)
    assert first["weight"].std().item() == pytest.approx(1, abs=0.1)
    assert first["linear.weight"].std().item() == pytest.approx(0.125 / 3**0.5, rel=0.1)
    assert first["steps"].tolist() == list(range(6))
    made: Any
    made, programs = record(module(fill))
    assert made.tied.weight is made.linear.weight
    assert not torch.equal(starts(programs, 0)["weight"], starts(programs, 1)["weight"])


def test_parametrized_and_copied_weights_have_draws() -> None:
    def fill(made: nn.Module) -> None:
        made.normed = parametrizations.weight_norm(nn.Linear(5, 7))
        made.spectral = parametrizations.spectral_norm(nn.Linear(5, 7))
        made.copied = copy.deepcopy(made.normed)
        made.attention = nn.MultiheadAttention(8, 2)
        made.recurrent = nn.LSTM(4, 4)
        made.waves = nn.Parameter(torch.randn(3, 4, dtype=torch.cfloat))
        made.register_buffer("codes", torch.randint(-128, 127, (4, 4), dtype=torch.int8))

    first = drawn(fill)
    assert first.keys() == module(fill)().state_dict().keys()
    u = first["spectral.parametrizations.weight.0._u"]
    assert u.norm().item() == pytest.approx(1, abs=1e-5)


def test_ties_have_one_draw() -> None:
    def fill(made: nn.Module) -> None:
        made.embed, made.head = nn.Embedding(10, 6), nn.Linear(6, 10, bias=False)
        made.head.weight = made.embed.weight

    assert drawn(fill).keys() == {"embed.weight"}


def test_every_global_state_is_left_alone_and_irrelevant() -> None:
    def fill(made: nn.Module) -> None:
        torch.manual_seed(0)
        made.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(np.random.randint(1, 50)))

    states = np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state().tolist()
    first: Any
    second: Any
    first, _ = record(module(fill))
    assert states == (np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state().tolist())
    np.random.rand()
    second, _ = record(module(fill))
    assert len(second.layers) == len(first.layers)


def test_nothing_of_the_networks_size_is_allocated() -> None:
    made: Any
    made, programs = record(lambda: nn.Linear(10**6, 10**6))  # 4 TB
    assert made.weight.numel() == 10**12 and programs.keys() == {"weight", "bias"}


def test_refuses_constructors_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_OPERATIONS", 100)
    with pytest.raises(ArchitectureError, match="more than 100 tensor operations"):
        record(lambda: nn.Sequential(*(nn.Linear(2, 2) for _ in range(100))))


def test_refuses_lazy_layers_and_what_is_no_module() -> None:
    with pytest.raises(ArchitectureError, match="has no shape before"):
        record(lambda: nn.LazyLinear(3))
    with pytest.raises(ArchitectureError, match="it returns int"):
        record(lambda: 3)  # type: ignore[arg-type, return-value]


class Complex(nn.Module):
    """Complex numbers in every way in which constructors make them, some read as pairs of real ones."""

    angles: Tensor

    def __init__(self) -> None:
        super().__init__()
        steps = torch.arange(4.0)
        self.pairs = nn.Parameter(torch.view_as_real(torch.randn(4, 5, dtype=torch.cfloat)))
        self.plain = nn.Parameter(torch.randn(4, 4, dtype=torch.cfloat))
        self.parts = nn.Parameter(torch.complex(torch.rand(4), torch.randn(4)))
        self.joined = nn.Parameter(torch.view_as_complex(torch.randn(4, 2)))
        self.polar = nn.Parameter(torch.polar(torch.ones(4), steps))
        self.turned = nn.Parameter(torch.polar(torch.ones(4), steps).conj())
        self.imaginary = nn.Parameter(torch.polar(torch.ones(4), steps).imag)
        self.minus = nn.Parameter(torch.polar(torch.ones(4), steps).conj().imag)
        self.waves = nn.Parameter(torch.exp(-1j * steps))
        self.late = nn.Parameter(torch.empty(3, 4, dtype=torch.cfloat))
        nn.init.normal_(self.late, std=0.5)
        self.layer = nn.Linear(4, 4, dtype=torch.cfloat)
        self.wide = nn.Parameter(torch.randn(3, dtype=torch.cdouble))
        self.register_buffer("angles", torch.polar(torch.ones(3, 2), torch.arange(6.0).view(3, 2)).t())

    def forward(self, states: Tensor) -> Tensor:
        spectrum = self.layer(states + 0j) @ self.plain + self.parts + self.joined + self.polar + self.turned
        shift = self.imaginary + self.minus + self.waves + torch.view_as_complex(self.pairs).sum(1)
        return (spectrum + shift).abs() @ self.late.abs().t() + self.wide.abs().float() + self.angles.abs().sum()


def test_complex_slots_are_drawn_as_their_constructor_draws_them() -> None:
    module, programs = record(Complex)
    real = Complex()
    assert programs.keys() == real.state_dict().keys()
    for name, tensor in real.state_dict().items():
        value = programs[name](slot_generator(1, name))
        assert (value.shape, value.dtype) == (tensor.shape, tensor.dtype), name
        assert torch.allclose(value, tensor) == (name in ("polar", "turned", "imaginary", "minus", "waves", "angles"))
        assert value.abs().sum() > 0 and value.equal(programs[name](slot_generator(1, name)))
    assert float(programs["minus"](slot_generator(1, "minus"))[1]) == pytest.approx(-float(torch.tensor(1.0).sin()))
