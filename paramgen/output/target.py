"""Whether a folder that is not written yet can be pushed: the Hub is asked first, where that is requested."""

from typing import TYPE_CHECKING

from paramgen.errors import OptionError

if TYPE_CHECKING:
    from paramgen.hub.commit import Target


def early_target(
    repo: str | None, *, public: bool, revision: str | None, pr: bool, message: str | None
) -> "Target | None":
    """Return where to push, if that is requested, once the Hub has said that it can be.

    Raises:
        OptionError: No repository is named, but something is said about it.

    """
    if repo is None:
        if public or pr or revision is not None or message is not None:
            raise OptionError("--public, --revision, --pr and --message need --push. Type: --push OWNER/NAME")
        return None
    from paramgen.hub.commit import Target, checked_target  # its libraries take a while

    return checked_target(Target(repo=repo, public=public, revision=revision, pr=pr))
