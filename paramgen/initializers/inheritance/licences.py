"""Which licences a donor may be under, and under which one the weights are that several donors make."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from paramgen.errors import OptionError, UnknownNameError, one_line
from paramgen.hub.trained import Trained
from paramgen.initializers.inheritance.catalog import catalog

PERMISSIVE: Final = (
    "cc-by-4.0 cc-by-3.0 cc-by-2.5 cc-by-2.0 apache-2.0 artistic-2.0 afl-3.0 ms-pl bsd-3-clause-clear bsd-3-clause "
    "bsd-2-clause bsd ncsa zlib bsl-1.0 isc mit 0bsd cc0-1.0 pddl unlicense wtfpl"
).split()
"""Licences that allow any use, by the Hub's names for them; those that demand more come first."""


def allowed_licences(named: str | Sequence[str] = ()) -> frozenset[str]:
    """Return the licences that a user allows: those named, or else all that allow any use.

    Args:
        named: Names, or one text with commas between them.

    Raises:
        UnknownNameError: It is none of those, and none of the catalog's.

    """
    words = named.split(",") if isinstance(named, str) else named
    names = [word.strip().lower() for word in words if word.strip()]
    of_models = {model.license for model in catalog()}
    for name in names:
        if name not in of_models and name not in PERMISSIVE:
            raise UnknownNameError.of("licence", name, of_models)
    return frozenset(names or PERMISSIVE)


def check_licence(donor: str, known: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Raise OptionError unless the licence that a donor's card names is one of those allowed."""
    licence = known.get("license")
    if licence not in allowed:
        what = f"is under {one_line(licence)!r}" if licence else "names no licence"
        named = "any that allows any use" if allowed == frozenset(PERMISSIVE) else ", ".join(sorted(allowed))
        raise OptionError(f"{donor!r} {what}. Allowed: {named}. Give another donor, or allow what you may use")


def joint_provenance(donors: Sequence[Trained]) -> dict[str, Any]:
    """Return what is known of several donors, and the licence of what is made of all.

    Raises:
        OptionError: Their licences do not allow each other.

    """
    known = {donor.path: donor.provenance() for donor in donors}
    licences = {path: each.get("license") for path, each in known.items()}
    repos = [each["repo"] for each in known.values() if "repo" in each]
    datasets = dict.fromkeys(name for each in known.values() for name in each.get("datasets", ()))
    result: dict[str, Any] = {"from": ", ".join(known), "repo": repos, "license": resulting_licence(licences)}
    result |= {"datasets": list(datasets), "licenses": licences}
    return {key: value for key, value in result.items() if value}


def identified(donor: Trained) -> str:
    """Return the sha256 of a donor's weights, and its commit where it has one."""
    said = donor.describe()
    return f"sha256 {said['sha256']}" + (f", commit {said['revision']}" if "revision" in said else "")


def resulting_licence(licences: Mapping[str, str | None]) -> str | None:
    """Return the licence of what is made of several donors; None where one of theirs is not known.

    What allows any use takes the licence of the others; of several such licences, the one that demands most.

    Args:
        licences: The licence of each donor, by what the donor is called.

    Raises:
        OptionError: Two donors have different licences that both want what is made of them to be under their own.

    """
    demanding = {name: licence for name, licence in licences.items() if licence and licence not in PERMISSIVE}
    if len(set(demanding.values())) > 1:
        (first, its), *others = demanding.items()
        other, others_own = next((name, licence) for name, licence in others if licence != its)
        raise OptionError(
            f"{first!r} is under {one_line(its)!r} and {other!r} under {one_line(others_own)!r}: weights made of both "
            "would have to be under either alone. Give donors of one licence, or such that allow any use"
        )
    known = [licence for licence in licences.values() if licence]
    if len(known) < len(licences):
        return None
    return next(iter(demanding.values()), None) or min(known, key=PERMISSIVE.index, default=None)
