import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from paramgen.errors import HypernetError
from paramgen.hypernets.config import HypernetConfig, first_light
from paramgen.hypernets.hypernet import empty_hypernet
from paramgen.hypernets.normalization import InitializerRange


def test_json_and_back_is_the_same(residual_config: HypernetConfig, published: HypernetConfig) -> None:
    others = (published, replace(published, normalization=InitializerRange(otherwise=0.02)))
    for config in (first_light(), residual_config, *others):
        assert HypernetConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_shipped_hypernet_is_small() -> None:
    hypernet = empty_hypernet(first_light())
    assert all(parameter.is_meta for parameter in hypernet.parameters())
    assert sum(parameter.numel() for parameter in hypernet.parameters()) < 5_000_000


def changed(path: str, value: Any) -> dict[str, Any]:
    data = deepcopy(first_light().to_json())
    *branches, leaf = path.split(".")
    target = data
    for branch in branches:
        target = target[branch]
    if value is None:
        del target[leaf]
    else:
        target[leaf] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("encoder.hidden", None, "config.json: encoder has no 'hidden'"),
        ("decoder.depth", 3, "config.json: decoder has the unknown key 'depth'"),
        ("decoder.kind", "transformer", "'kind' is conv or low_rank"),
        ("decoder.kind", ["low_rank"], "'kind' is conv or low_rank"),
        ("decoder.kind", None, "'kind' is conv or low_rank"),
        ("encoder", 7, "'kind' is graphormer"),
        ("encoder.hidden", 64.0, "must be of type int"),
        ("encoder.layers", True, "must be of type int"),
        ("encoder.layers", 10**12, "allowed are 1 to 128"),
        ("encoder.hidden", 4100, "allowed are 4 to 4096"),
        ("encoder.channels", "abc", "must be a list"),
        ("encoder.primitives", 1000, "native vocabulary"),
        ("roles", ["weight", "weight"], "none twice"),
        ("roles", [], "at least one"),
        ("roles", ["weights"], r"roles\[0\] is 'weights'"),
        ("roles", ["weight", "position"], "with 'residual', allowed are"),
        ("vocabulary", "ours", "allowed are native, published"),
        ("format_version", 2, "git pull"),
        ("residual", 1, "must be of type bool"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(path: str, value: Any, message: str) -> None:
    with pytest.raises(HypernetError, match=message) as caught:
        HypernetConfig.from_json(changed(path, value))
    assert "\n" not in str(caught.value)


def test_a_config_that_is_no_object_is_refused() -> None:
    with pytest.raises(HypernetError, match="must be an object"):
        HypernetConfig.from_json([])
