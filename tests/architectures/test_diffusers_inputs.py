"""Example inputs of diffusers' networks that keep what they read elsewhere than others do."""

import pytest

import paramgen

pytest.importorskip("diffusers")
SMALL = {
    "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "norm_num_groups": 4,
    "cross_attention_dim": 8,
    "num_attention_heads": 2,
    "ctrl_block_out_channels": [4, 8],
    "ctrl_num_attention_heads": 1,
    "ctrl_max_norm_num_groups": 4,
    "sample_size": 8,
}


def test_a_network_whose_config_names_no_channels() -> None:
    prediction = paramgen.predict("diffusers:UNetControlNetXSModel", init="he", overrides=SMALL, strict=True)
    assert prediction.graph.ordered and "he" in prediction.rules.values()
