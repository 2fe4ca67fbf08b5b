"""The published models of a network's family, the nearest first."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

from paramgen.graphs.analysis.model_families import a_family
from paramgen.initializers.inheritance.catalog import PublishedModel, catalog
from paramgen.initializers.inheritance.network import Network
from paramgen.initializers.inheritance.profile import NetworkProfile, profile_of


@final
@dataclass(frozen=True, kw_only=True)
class NearDonor:
    """A published model and its distance from a network."""

    model: PublishedModel
    distance: float  # 0: the same sizes and operations; 1: a factor of two in width, for instance

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"distance": round(self.distance, 3), **self.model.to_json()}

    def __str__(self) -> str:
        profile, model = self.model.profile, self.model
        widths = "-".join(str(width) for width in dict.fromkeys(profile.widths))
        sizes = f"{profile.parameters / 1e6:.1f} M parameters, {in_bytes(model.bytes)}, width {widths}"
        return ", ".join((f"{self.distance:.2f}: {sizes}", f"depth {profile.depth}", model.license, *model.data))


@final
@dataclass(frozen=True, kw_only=True)
class Donors:
    """The published models that a network may inherit from, the nearest first.

    Iterating gives each `NearDonor`: its `distance` and its `model`, which has `repo`, `spec`, `license`, `bytes` and
    `profile`.
    """

    spec: str  # the network
    profile: NetworkProfile
    found: tuple[NearDonor, ...]
    refused: tuple[str, ...] = ()  # the licences of others of the family, which are not allowed

    def __iter__(self) -> Iterator[NearDonor]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    @property
    def reason(self) -> str:
        """Why there is none, in a sentence; empty where there is one."""
        what = f"{self.spec} is {a_family(self.profile.family)}"
        if self.found:
            return ""
        if self.refused:
            return (
                f"{what}, and all published models of its family that are known here are under {self.others}. Type: "
                f"--license-allow {self.refused[0]}, if you may use it"
            )
        return f"{what}, and no published model of its family is known here. Give one: --init inherit:FOLDER_OR_REPO"

    @property
    def others(self) -> str:
        """The licences that are not allowed, in words."""
        return " and ".join(self.refused)

    def to_json(self) -> dict[str, Any]:
        """Return what `paramgen donors --json` prints."""
        return {
            "spec": self.spec,
            **self.profile.to_json(),
            "donors": [each.to_json() for each in self.found],
            "refused_licenses": list(self.refused),
            "reason": self.reason,
        }


def nearest(network: Network, allowed: frozenset[str]) -> Donors:
    """Return the models of the network's family that are under an allowed licence.

    Of two that are as near, the one that was trained on more sets of data comes first.

    Args:
        network: What is to inherit.
        allowed: Names of licences.

    """
    profile = profile_of(network)
    family = [model for model in catalog() if model.profile.family == profile.family]
    near = [
        NearDonor(model=model, distance=profile.distance(model.profile)) for model in family if model.license in allowed
    ]
    return Donors(
        spec=network.architecture.spec,
        profile=profile,
        found=tuple(sorted(near, key=_order)),
        refused=tuple(sorted({model.license for model in family} - allowed)),
    )


def _order(donor: NearDonor) -> tuple[float, int, str]:
    return donor.distance, -len(donor.model.data), donor.model.repo


def in_bytes(count: int) -> str:
    """Return a size in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
