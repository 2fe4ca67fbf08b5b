"""What a folder or a repository holds, by its config.json."""

from collections.abc import Mapping


def is_hypernet(config: object) -> bool:
    """Whether JSON values look like a hypernet's configuration; transformers has encoders and decoders, too."""
    return isinstance(config, Mapping) and bool({"encoder", "kind"} & config.keys()) and "model_type" not in config
