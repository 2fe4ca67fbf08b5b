"""Which published model a network inherits from where nobody named one: the nearest that may be used and can be had.

What is in the cache is used without a question; before anything is downloaded, it must have been confirmed.
"""

from dataclasses import dataclass
from typing import Any, final

from paramgen.errors import OptionError, UnconfirmedError
from paramgen.hub.download import Missing, offline, reason
from paramgen.initializers.inheritance.donor import Donor
from paramgen.initializers.inheritance.nearest import Donors, NearDonor, in_bytes, nearest
from paramgen.initializers.inheritance.network import Network


@final
@dataclass(frozen=True, kw_only=True)
class ChosenDonor:
    """A published model that is in the cache now, its commit, and of how many it is the nearest."""

    near: NearDonor
    commit: str | None  # None where the cache has no commits
    among: int

    @property
    def path(self) -> str:
        """What `inherit:` takes."""
        return f"{self.near.model.repo}@{self.commit}" if self.commit else self.near.model.repo

    def __str__(self) -> str:
        return _in_words(self.near, self.among)


def chosen_donor(network: Network, *, allowed: frozenset[str], yes: bool) -> ChosenDonor:
    """Return the donor, which was downloaded if it had to be.

    Args:
        network: What is to inherit.
        allowed: Names of licences.
        yes: Whether it may be downloaded.

    Raises:
        OptionError: There is none, or it cannot be had.
        UnconfirmedError: It would have to be downloaded, which is not confirmed.

    """
    donors = nearest(network, allowed)
    if not donors.found:
        raise OptionError(donors.reason)
    near = _in_cache(donors) if offline() else donors.found[0]
    donor = Donor(path=near.model.repo)
    if not offline():
        try:
            missing = donor.trained.missing(revision=near.model.revision)
        except Exception as error:  # a connection that breaks raises what its own library has for it
            if not donor.trained.in_cache:
                raise OptionError(
                    f"{near.model.repo!r}, the nearest donor of {donors.spec}, cannot be had: {reason(error)}. Give "
                    "another one, --init inherit:FOLDER_OR_REPO: paramgen donors lists them"
                ) from error
        else:
            if missing.bytes and not yes:
                raise UnconfirmedError(
                    f"--init inherit would download {in_bytes(missing.bytes)} of {_in_words(near, len(donors))}.",
                    advice="Type: --init 'inherit?yes=true'",
                    details=_details(near, missing),
                )
    return ChosenDonor(near=near, commit=donor.trained.commit, among=len(donors))


def _in_words(near: NearDonor, among: int) -> str:
    nearest_of = f"the nearest of {among} published models" if among > 1 else "the one published model"
    return f"{near.model.repo}, {nearest_of} that may be used (distance {near.distance:.2f}; {near.model.license})"


def _in_cache(donors: Donors) -> NearDonor:
    """Return the nearest one that was downloaded before."""
    found = next((each for each in donors if Donor(path=each.model.repo).trained.in_cache), None)
    if found is None:
        raise OptionError(
            f"HF_HUB_OFFLINE forbids to ask the Hub, and none of the {len(donors)} published models that fit "
            f"{donors.spec} is in the cache; the nearest is {donors.found[0].model.repo}. Unset it, or give a donor: "
            "--init inherit:FOLDER_OR_REPO"
        )
    return found


def _details(near: NearDonor, missing: Missing) -> dict[str, Any]:
    """Return what is known before the download, as JSON."""
    model = near.model
    return {
        "donor": model.repo,
        "revision": missing.commit,
        "download_bytes": missing.bytes,
        "license": model.license,
        "data": list(model.data),
        "distance": round(near.distance, 3),
        "donor_spec": model.spec,
        "parameters": model.profile.parameters,
    }
