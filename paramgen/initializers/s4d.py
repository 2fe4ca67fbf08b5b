"""Diagonal state spaces: the state matrices of S4D (Gu et al., 2022, arXiv:2206.11893) and of PTD.

PTD is perturb-then-diagonalize (Yu et al., 2024, arXiv:2310.01698).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from math import log, pi
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch
from jaxtyping import Complex128, Float64
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers, is_scale
from paramgen.initializers.library import complete_rules, fill_by_rules
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import Manifest, Slot

S4D: Final = "s4d"
STATE_SPACES: Final = ("lin", "inv", "legs", "real", "ptd")
MAX_STATE: Final = 512
"""A larger state is not diagonalized: it takes cubic time, and its eigenvectors more digits than there are."""

LOG_REAL: Final = ("log_A_real", "inv_A_real")  # logarithms of minus the real parts
IMAGINARY_PARTS: Final[Mapping[str, str]] = {
    "log_A_real": "A_imag",
    "inv_A_real": "A_imag",
    "Lambda_re": "Lambda_im",
}
"""What modules call the real parts of a state matrix -> the imaginary ones beside them."""
WHOLE: Final = ("A", "Lambda")  # complex numbers, in one slot
STEP_SIZES: Final = ("log_dt", "log_step")
BESIDE: Final = frozenset((*STEP_SIZES, "B", "C", "D"))
"""What else a module of a state space may hold; the inputs of S5 mix channels, and are the library's."""

_Maker = Callable[[Slot, int], Tensor]  # of a slot and a seed
DRAWS: Final = 48  # perturbations that are tried at each size
PERTURBED: Final = 0.1  # the largest perturbation, as a share of the matrix


@final
@dataclass(frozen=True, slots=True)
class Diagonal:
    """A state space in diagonal form: half of its poles, one of each conjugate pair, and its input."""

    poles: Complex128[np.ndarray, " states"]
    inputs: Complex128[np.ndarray, " states"]
    vectors: Complex128[np.ndarray, "full states"] | None = None  # of the matrix that was diagonalized


@final
@initializers.register(S4D)
@dataclass(frozen=True, kw_only=True)
class StateSpace(Initializer):
    """The poles of diagonal state spaces: s4d:lin, inv, legs, real (Gu et al., 2022) or ptd (Yu et al., 2024).

    Slots are told by name and shape: `log_A_real` or `inv_A_real` with `A_imag`, `Lambda_re` with `Lambda_im`, complex
    `A` or `Lambda`, and Mamba's `A_log`, whose state is real. Beside them, `log_dt` is uniform, `B` is the input in the
    same basis, `C` complex normal and `D` normal.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "diagonal state spaces: S4D, S5, Mamba"

    kind: Literal["lin", "inv", "legs", "real", "ptd"] = "lin"
    dt_min: float | int = 1e-3
    dt_max: float | int = 0.1
    perturbation: float | int = 1e-4  # of ptd: the norm of what is added, as a share of the matrix's

    def __post_init__(self) -> None:
        if self.kind not in STATE_SPACES:
            raise OptionError(f"kind is {self.kind!r}. Allowed: {', '.join(STATE_SPACES)}. Type: --init s4d:lin")
        ordered = all(is_scale(value) and value > 0 for value in (self.dt_min, self.dt_max))
        if not ordered or self.dt_min > self.dt_max:
            given = f"{one_line(repr(self.dt_min))} and {one_line(repr(self.dt_max))}"
            raise OptionError(
                f"dt_min and dt_max are {given}. Allowed: two numbers above 0, the smaller one first. "
                "Type: --init 's4d?dt_min=0.001&dt_max=0.1'"
            )
        if not is_scale(self.perturbation) or not 1e-8 <= self.perturbation <= PERTURBED:
            raise OptionError(
                f"perturbation is {one_line(repr(self.perturbation))}. Allowed: a number from 1e-8 to {PERTURBED}. "
                "Type: --init 's4d?kind=ptd&perturbation=0.0001'"
            )

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that there is no diagonal state space, or none that can have such poles."""
        if self._makers(architecture.manifest):
            return None
        if self.kind != "real" and _mambas(architecture.manifest):
            return f"its state is real, and the poles of {self.kind!r} are not. Type: --init s4d:real"
        names = "log_A_real and A_imag, Lambda_re and Lambda_im, a complex A, or A_log"
        return (
            f"it has no diagonal state space of up to {MAX_STATE} states, which is told by the names {names}. "
            "Type: --init library"
        )

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `s4d` for the slots of state spaces, the library's rule elsewhere."""
        found = self._makers(architecture.manifest)
        filled = {slot.name for slot in architecture.manifest.filled}
        return complete_rules(architecture, {name: S4D for name in found if name in filled})

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        makers = self._makers(architecture.manifest)

        def make(slot: Slot) -> Tensor:
            return makers[slot.name](slot, seed).to(slot.dtype)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def _makers(self, manifest: Manifest) -> dict[str, _Maker]:
        """Return what makes each slot of a state space."""
        found: dict[str, _Maker] = dict.fromkeys(_mambas(manifest), _decays) if self.kind == "real" else {}
        for name, slot in manifest.items():
            stem, _, own = name.rpartition(".")
            states = slot.shape[-1] if slot.shape else 0
            if not 1 <= states <= MAX_STATE // 2:
                continue
            beside = (
                f"{stem}.{IMAGINARY_PARTS[own]}" if stem and own in IMAGINARY_PARTS else IMAGINARY_PARTS.get(own, "")
            )
            if own in IMAGINARY_PARTS and beside in manifest and manifest[beside].shape == slot.shape:
                found[name] = partial(self._part, states=states, part="log" if own in LOG_REAL else "real")
                found[beside] = partial(self._part, states=states, part="imaginary")
            elif own in WHOLE and slot.dtype.is_complex:
                found[name] = partial(self._part, states=states, part="whole")
            else:
                continue
            found |= self._beside(manifest, stem, states, names=BESIDE if own != "Lambda_re" else BESIDE - {"B"})
        return found

    def _part(self, slot: Slot, seed: int, *, states: int, part: str) -> Tensor:
        poles = torch.from_numpy(self.diagonal(states).poles)
        if part != "whole":
            poles = poles.imag if part == "imaginary" else poles.real
        return ((-poles).log() if part == "log" else poles).expand(slot.shape).clone()

    def _beside(self, manifest: Manifest, stem: str, states: int, *, names: frozenset[str]) -> dict[str, _Maker]:
        """Return what makes the step sizes, inputs and outputs of the state space in one module."""
        found: dict[str, _Maker] = {}
        for own in sorted(names):
            name = f"{stem}.{own}" if stem else own
            slot = manifest.get(name)
            if slot is None or slot.kind != "parameter" or not slot.elements:
                continue
            if own in STEP_SIZES:
                found[name] = self._steps
            elif own == "D" and len(slot.shape) <= 2:
                found[name] = _normal
            elif own in ("B", "C") and _is_complex(slot, states):
                found[name] = partial(self._inputs, states=states) if own == "B" else _outputs
        return found

    def _steps(self, slot: Slot, seed: int) -> Tensor:
        """Return logarithms of step sizes, uniform between those of the smallest and the largest."""
        low, high = log(self.dt_min), log(self.dt_max)
        return torch.rand(slot.shape, generator=slot_generator(seed, slot.name)) * (high - low) + low

    def _inputs(self, slot: Slot, seed: int, *, states: int) -> Tensor:
        return _stored(torch.from_numpy(self.diagonal(states).inputs).expand(_complex_shape(slot)), slot)

    def diagonal(self, states: int) -> Diagonal:
        """Return the poles and the input of so many states, each one of a conjugate pair; all of a real kind."""
        return diagonal(self.kind, states, float(self.perturbation))


def _mambas(manifest: Manifest) -> list[str]:
    """Return Mamba's state matrices: channels by states, all real."""
    return [name for name, slot in manifest.items() if name.rpartition(".")[2] == "A_log" and len(slot.shape) == 2]


def _decays(slot: Slot, seed: int) -> Tensor:
    """Return the logarithms of 1, 2, 3, ... for each channel."""
    return torch.arange(1, slot.shape[-1] + 1, dtype=torch.float64).log().expand(slot.shape).clone()


def _normal(slot: Slot, seed: int) -> Tensor:
    return torch.randn(slot.shape, generator=slot_generator(seed, slot.name))


def _is_complex(slot: Slot, states: int) -> bool:
    """Whether a slot holds complex numbers, as such or as pairs, with the states last."""
    return _complex_shape(slot)[-1:] == (states,)


def _complex_shape(slot: Slot) -> tuple[int, ...]:
    if slot.dtype.is_complex:
        return slot.shape
    return slot.shape[:-1] if slot.shape[-1:] == (2,) else ()


def _stored(values: Tensor, slot: Slot) -> Tensor:
    return values.clone() if slot.dtype.is_complex else torch.view_as_real(values.resolve_conj().contiguous())


def _outputs(slot: Slot, seed: int) -> Tensor:
    """Return complex normal numbers of variance 1."""
    generator = slot_generator(seed, slot.name)
    return _stored(torch.randn(_complex_shape(slot), dtype=torch.complex64, generator=generator), slot)


@lru_cache(maxsize=64)
def diagonal(kind: str, states: int, perturbation: float) -> Diagonal:
    """Return a diagonal state space of a kind (section 4 of S4D; theorem 2 of PTD)."""
    index = np.arange(states)
    ones = np.ones(states, dtype=np.complex128)
    if kind == "real":
        return Diagonal(-(index + 1.0) + 0j, ones)
    if kind == "lin":
        return Diagonal(-0.5 + 1j * pi * index, ones)
    size = 2 * states
    if kind == "inv":
        return Diagonal(-0.5 + 1j * size / pi * (size / (2 * index + 1) - 1), ones)
    matrix, inputs = legs(size)
    if kind == "legs":
        return _normal_part(matrix, inputs)
    return perturbed(matrix, inputs, perturbation)


def legs(size: int) -> tuple[Float64[np.ndarray, "full full"], Float64[np.ndarray, " full"]]:
    """Return the state matrix and the input of HiPPO-LegS."""
    root = np.sqrt(2 * np.arange(size) + 1.0)
    matrix = -np.tril(root[:, None] * root, -1) - np.diag(np.arange(size) + 1.0)
    return matrix, root


@one_thread()
def _normal_part(matrix: Float64[np.ndarray, "full full"], inputs: Float64[np.ndarray, " full"]) -> Diagonal:
    """Return the eigenvalues of HiPPO-LegS plus a rank-one term, -1/2 with imaginary parts, and V^H B (S4D-LegS)."""
    root = inputs / 2**0.5
    skew = matrix + root[:, None] * root + 0.5 * np.eye(len(matrix))
    values, vectors = (each.numpy() for each in torch.linalg.eigh(torch.from_numpy(-1j * skew)))
    upper = values > 0
    chosen = vectors[:, upper]
    chosen = chosen * np.exp(-1j * np.angle(chosen[0]))  # a vector's phase is LAPACK's convention
    return Diagonal(-0.5 + 1j * values[upper], chosen.conj().T @ inputs, chosen)


@one_thread()
def perturbed(
    matrix: Float64[np.ndarray, "full full"], inputs: Float64[np.ndarray, " full"], perturbation: float
) -> Diagonal:
    """Return the eigenvalues of A + E and V^-1 B, for the best conditioned of many small E.

    An E is refused that makes a pole unstable, or leaves one real: half of the poles would not stand for it. Where all
    are, E grows.
    """
    generator = slot_generator(0, f"ptd {len(matrix)}")
    norm = float(np.linalg.norm(matrix, 2))
    while perturbation <= PERTURBED:
        best: tuple[float, Diagonal] | None = None
        for _ in range(DRAWS):
            noise = torch.randn(matrix.shape, generator=generator, dtype=torch.float64).numpy()
            values, vectors = np.linalg.eig(matrix + noise * (perturbation * norm / np.linalg.norm(noise, 2)))
            if values.real.max() >= 0 or (np.abs(values.imag) < 1e-9).any():
                continue
            condition = float(np.linalg.cond(vectors))
            if best is None or condition < best[0]:
                upper = np.flatnonzero(values.imag > 0)
                upper = upper[np.argsort(values[upper].imag)]
                best = condition, Diagonal(values[upper], np.linalg.solve(vectors, inputs)[upper], vectors[:, upper])
        if best is not None:
            return best[1]
        perturbation *= 3
    raise OptionError(
        f"ptd finds no stable perturbation of {len(matrix)} states. Type: --init 's4d?kind=ptd&perturbation=0.001', or "
        "--init s4d:legs"
    )
