"""Create an Inference Endpoint at Hugging Face, from a repository that holds the folder of `export`."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Final, TypedDict, final

from paramgen.errors import EndpointError, OptionError, one_line
from paramgen.registry.repository_names import is_repository

TYPES: Final = ("authenticated", "private", "public")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


class EndpointOptions(TypedDict, total=False):
    """The fields of `Wanted` that need not be given, as keywords."""

    revision: str | None
    namespace: str | None
    vendor: str
    region: str
    accelerator: str
    instance_type: str
    instance_size: str
    min_replica: int
    max_replica: int
    scale_to_zero_timeout: int | None
    type: str


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The endpoint to create: the keywords of huggingface_hub's `create_inference_endpoint`."""

    name: str
    repository: str
    revision: str | None = None
    namespace: str | None = None
    vendor: str = "aws"
    region: str = "us-east-1"
    accelerator: str = "cpu"
    instance_type: str = "intel-spr"
    instance_size: str = "x2"
    min_replica: int = 0
    max_replica: int = 1
    scale_to_zero_timeout: int | None = 15
    type: str = "authenticated"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise OptionError(
                f"The endpoint's name is {self.name!r}; allowed are up to 32 small letters, digits and hyphens inside."
            )
        if not is_repository(self.repository):
            raise OptionError(f"The repository is {self.repository!r}. Type: --repository OWNER/NAME")
        if self.type not in TYPES:
            raise OptionError(f"Unknown --type {self.type!r}. Allowed: {', '.join(TYPES)}")
        if not 0 <= self.min_replica <= self.max_replica or self.max_replica < 1:
            raise OptionError(
                f"{self.min_replica} to {self.max_replica} replicas; allowed are 0 or more, and at least 1 at most."
            )

    def keywords(self) -> dict[str, Any]:
        """Return every keyword; `custom` is the framework whose images look for a handler.py."""
        given = asdict(self)
        if self.min_replica > 0:
            given["scale_to_zero_timeout"] = None
        return {**given, "framework": "custom", "task": "custom"}


def create(wanted: Wanted) -> dict[str, Any]:
    """Create the endpoint with huggingface_hub's stored token, and return its name, status and URL.

    Raises:
        EndpointError: There is no token, or the Hub refuses.

    """
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if get_token() is None:
        raise EndpointError("There is no token of the Hub. Type: hf auth login, or set HF_TOKEN; or add --dry-run")
    try:
        made = HfApi().create_inference_endpoint(**wanted.keywords())
    except (HfHubHTTPError, HTTPError, OSError, ValueError) as error:
        raise EndpointError(
            f"{wanted.name!r} was not created: {one_line(error)} Look at https://endpoints.huggingface.co"
        ) from error
    return {"name": made.name, "namespace": made.namespace, "status": str(made.status), "url": made.url}
