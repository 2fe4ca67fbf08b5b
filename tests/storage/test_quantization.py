"""Few bits for each weight: the levels, the distance to them, and that what is stored is what is read."""

import pytest
import torch

from paramgen.errors import OptionError, UnknownNameError
from paramgen.storage.quantization import QUANTIZATION_KINDS, Encoded, Quantization

# The levels that QLoRA's NF4 has (arXiv:2305.14314, appendix E).
NF4 = (
    "-1.0 -0.6961928 -0.5250731 -0.3949175 -0.2844414 -0.1847734 -0.0910500 0.0 "
    "0.0795803 0.1609302 0.2461123 0.3379152 0.4407098 0.5626170 0.7229568 1.0"
)
# What bitsandbytes 0.50.2 on a CPU makes of SAMPLE: quantize_4bit(SAMPLE, blocksize=64, quant_type="nf4").
SAMPLE = torch.sin(torch.arange(96, dtype=torch.float32) * 1.7) * torch.linspace(0.01, 0.3, 96)
BITSANDBYTES = "787688669857a748a54a936c738c53bb34d828d52bd23ea16e51be21ec05f70ae32dc14e818e41dd13ea07f50ce11fc0"


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.02).to(dtype)


def test_levels_are_those_of_the_paper() -> None:
    found = Quantization.of("nf4?block=tensor").rounded(torch.linspace(-1, 1, 4001)[None]).unique()
    assert found.tolist() == pytest.approx([float(level) for level in NF4.split()], abs=1e-6)


def test_codes_and_scales_are_those_of_bitsandbytes() -> None:
    encoded = Quantization(kind="nf4").encode(SAMPLE)
    assert bytes(encoded.codes.tolist()).hex() == BITSANDBYTES
    assert torch.equal(encoded.scales, torch.stack([SAMPLE[:64].abs().max(), SAMPLE[64:].abs().max()]))


@pytest.mark.parametrize("kind", QUANTIZATION_KINDS)
def test_what_is_stored_is_what_is_read_and_rounding_again_changes_nothing(kind: str) -> None:
    for shape, dtype in (
        ((3, 67), torch.float32),
        ((16, 8), torch.bfloat16),
        ((5, 13), torch.float16),
        ((0, 3), torch.float32),
    ):
        for block in (64, "tensor"):
            quantization = Quantization.of(f"{kind}?block={block}")
            weights = drawn(*shape, dtype=dtype)
            encoded, rounded = quantization.encode(weights), quantization.rounded(weights)
            assert (len(encoded.codes), len(encoded.scales)) == quantization.sizes(weights.numel())
            assert rounded.dtype == dtype and rounded.shape == shape
            assert torch.equal(quantization.decode(encoded, shape, dtype), rounded)
            assert torch.equal(quantization.rounded(rounded), rounded)


def test_more_bits_and_smaller_blocks_lose_less() -> None:
    weights = drawn(64, 256)

    def lost(spec: str) -> float:
        return float((Quantization.of(spec).rounded(weights) - weights).norm() / weights.norm())

    kinds = sorted(QUANTIZATION_KINDS, key=lost)
    assert kinds == ["int8", "nf5", "int5", "nf4", "fp4", "int4", "nf3", "int3"]
    assert lost("nf4?block=16") < lost("nf4") < lost("nf4?block=1024") < lost("nf4?block=tensor")
    assert lost("nf4") == pytest.approx(0.092, abs=0.003)
    assert lost("fp4") < 0.12


def test_a_piece_after_the_first_is_rounded_like_it() -> None:
    weights = drawn(1, 1 << 18).repeat(5, 1)  # more than are done at a time
    rounded = Quantization(kind="nf3").rounded(weights)
    assert torch.equal(rounded, rounded[:1].expand_as(rounded))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nf2", "Unknown quantize='nf2'. Allowed: nf4, fp4, int4, int8"),
        ("nf4?block=48", "block is 48. Allowed: a power of two from 8 to 65536, or tensor"),
        ("nf4?block=0", "block is 0"),
        ("nf4?block=true", "block is True"),
        ("nf4?block=131072", "block is 131072"),
        ("nf4?blok=64", "Did you mean 'block'"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_refused(spec: str, said: str) -> None:
    with pytest.raises((OptionError, UnknownNameError), match=said.replace("?", "[?]")):
        Quantization.of(spec)


def test_infinite_weights_and_false_codes_are_refused() -> None:
    quantization = Quantization(kind="int4")
    with pytest.raises(OptionError, match="not finite"):
        quantization.encode(torch.tensor([[1.0, float("inf")]]))
    good = quantization.encode(drawn(2, 8))
    for broken, said in (
        (Encoded(codes=good.codes | 255, scales=good.scales), "no level"),
        (Encoded(codes=good.codes, scales=-good.scales), "negative"),
        (Encoded(codes=good.codes, scales=good.scales * float("nan")), "not finite"),
    ):
        with pytest.raises(ValueError, match=said):
            quantization.decode(broken, (2, 8), torch.float32)
