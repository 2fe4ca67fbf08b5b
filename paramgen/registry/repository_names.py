"""Names of repositories of the Hugging Face Hub, by the Hub's own rule."""

from typing import Final

MAX_REPOSITORY_NAME: Final = 200  # letters: of owner and name together


def is_repository(name: object, *, with_owner: bool = True) -> bool:
    """Whether something may be the name of a repository: OWNER/NAME, or NAME alone where no owner is needed."""
    if not isinstance(name, str) or not (name.isascii() and name.isprintable() and len(name) <= MAX_REPOSITORY_NAME):
        return False
    if with_owner and name.count("/") != 1:
        return False
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented there

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True
