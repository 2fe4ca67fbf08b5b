"""The network of the classifier zoos: a ConvNeXt of transformers with two blocks and 33,338 parameters.

Its norms keep no running statistics, so a checkpoint is its parameters (Liu et al., 2022, arXiv:2201.03545).
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from torch import nn

from checkpoints.networks import SIZE, ZooNetwork
from paramgen._optional.torchvision import ensure_torchvision


def _built(config: Mapping[str, Any]) -> nn.Module:
    ensure_torchvision()
    import transformers

    return cast(
        nn.Module, cast(Any, transformers).ConvNextForImageClassification(transformers.ConvNextConfig(**config))
    )


CLASSIFIER: Final = ZooNetwork(
    spec="transformers:convnext",
    config={
        "image_size": SIZE,
        "num_channels": 3,
        "patch_size": 4,
        "num_stages": 2,
        "hidden_sizes": [24, 48],
        "depths": [1, 1],
        "num_labels": 2,
        "layer_scale_init_value": 0.1,  # the default of 1e-6 is for deep networks: these blocks would hardly learn
    },
    build=_built,
)
