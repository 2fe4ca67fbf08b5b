"""Load a hypernet or a supernet, whichever `config.json` describes."""

from collections.abc import Mapping
from typing import Any

import torch

from paramgen.errors import HypernetError
from paramgen.hub.kinds import is_hypernet
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.hypernet import Hypernet
from paramgen.hypernets.storage import CONFIG, locate, read_json
from paramgen.hypernets.supernet import KIND, Supernet, SupernetConfig

Predictor = Hypernet | Supernet


def fresh(config: HypernetConfig | SupernetConfig) -> Predictor:
    """Return an untrained hypernet or supernet of a configuration, with weights from torch's global generator."""
    if isinstance(config, HypernetConfig):
        return Hypernet(config)
    supernet = Supernet(config)
    supernet.reset(torch.default_generator)
    return supernet


def config_of(data: object) -> HypernetConfig | SupernetConfig:
    """Return the configuration of JSON values, of either kind."""
    is_supernet = isinstance(data, Mapping) and data.get("kind") == KIND
    return SupernetConfig.from_json(data) if is_supernet else HypernetConfig.from_json(data)


def load(name: str, **download: Any) -> Predictor:
    """Return the hypernet or supernet of a folder or Hub repository, in float32 and evaluation mode.

    Args:
        name: The folder or repository.
        **download: `revision`, `token`, `cache_dir`, `force_download`, `local_files_only` of `hf_hub_download`.

    Raises:
        HypernetError: There is none, or its files are not as they must be.

    """
    data = read_json(locate(name, CONFIG, **download))
    if not is_hypernet(data):
        raise HypernetError(
            f"{name!r} is no hypernet: its {CONFIG} has no 'encoder' and no 'kind'. Type: --init hypernet for one that "
            "comes with paramgen, or hypernet:FOLDER_OR_REPO"
        )
    config = config_of(data)
    kind = Supernet if isinstance(config, SupernetConfig) else Hypernet
    return kind.from_pretrained(name, **download)
