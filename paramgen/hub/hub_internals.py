"""The parts of huggingface_hub that it does not document, each behind a name of ours.

All were tried with huggingface_hub 2.4.0, with which we work, and with 2.0.0, the oldest supported version.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # an endpoint, which reads configurations of modules, does not load it
    from huggingface_hub import CommitOperationAdd


def unsent(sizes: Mapping[str, int], repo: str, endpoint: str) -> set[str]:
    """Return which contents, by sha256 and with their sizes, the Hub does not have: those it says how to upload."""
    from huggingface_hub.lfs import UploadInfo, post_lfs_batch_info

    infos = [UploadInfo(size, b"", bytes.fromhex(digest)) for digest, size in sizes.items()]
    answered, _, _ = post_lfs_batch_info(infos, None, "model", repo, endpoint=endpoint)
    return set(sizes) - {str(answer["oid"]) for answer in answered if not answer.get("actions")}


def is_left_out(addition: "CommitOperationAdd") -> bool:
    """Whether the repository's .gitignore leaves out a file that was sent: its commit would, without a word."""
    return bool(addition._should_ignore)


def config_of_mixin(module: Any) -> Any:
    """Return what `save_pretrained` of a `PyTorchModelHubMixin` writes as its configuration; None where it has none."""
    return module._hub_mixin_config
