"""Weights of several trained models: by parts, averaged; whose licences they are under, and what is refused."""

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import paramgen
from paramgen.architectures import resolve
from paramgen.errors import OptionError
from paramgen.initializers import initializer_of
from paramgen.initializers.inheritance.licences import resulting_licence
from paramgen.prediction import Prediction, prepare
from paramgen.storage.reading import Stored

VIT = "timm:vit_tiny_patch16_224"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "depth": 2, "num_classes": 5}
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 40}


def model(folder: Path, arch: str, overrides: dict[str, Any], *, seed: int, licence: str = "") -> dict[str, Tensor]:
    """Write a model none of whose values is as it was drawn, with a card where a licence is given."""
    architecture = resolve(arch, overrides)
    generator = torch.Generator().manual_seed(seed)
    state = {
        slot.name: torch.randn(slot.shape, generator=generator)
        if slot.dtype.is_floating_point
        else torch.full(slot.shape, seed, dtype=slot.dtype)
        for slot in architecture.manifest.filled
    }
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(architecture.layout.config)))
    if licence:
        (folder / "README.md").write_text(f"---\nlicense: {licence}\ndatasets:\n- {folder.name}\n---\n")
    return state


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """Two models of one architecture, one of 5 classes and one of 7."""
    model(tmp_path / "body", VIT, SMALL, seed=1, licence="mit")
    model(tmp_path / "head", VIT, SMALL | {"num_classes": 7, "depth": 1}, seed=2, licence="apache-2.0")
    return str(tmp_path / "body"), str(tmp_path / "head")


class TestParts:
    def test_the_head_comes_from_the_one_that_has_it(self, pair: tuple[str, str], tmp_path: Path) -> None:
        body, head = (load_file(Path(folder) / "model.safetensors") for folder in pair)
        init = f"inherit:{pair[0]}?with={pair[1]}"
        written = paramgen.write(VIT, tmp_path / "out", init=init, overrides=SMALL | {"num_classes": 7}, verify=False)
        state = load_file(tmp_path / "out" / "model.safetensors")
        assert torch.equal(state["head.weight"], head["head.weight"])
        assert torch.equal(state["blocks.1.mlp.fc1.weight"], body["blocks.1.mlp.fc1.weight"])
        assert written.prediction.rules["head.bias"] == "inherit:with:exact"
        assert set(written.prediction.by_rule) == {"inherit:exact", "inherit:with:exact"}
        assert any("7 classes are assumed to be the donor's" in remark for remark in written.prediction.remarks)
        assert not any("keeps its default" in remark for remark in written.prediction.remarks)
        record = json.loads((tmp_path / "out" / "paramgen.json").read_text())
        assert record["initializer"]["donor"] == pair[0] and pair[1] in record["initializer"]["with"]
        assert "sha256 " in record["initializer"]["with"][pair[1]]
        assert record["provenance"]["license"] == "apache-2.0"
        assert record["provenance"]["licenses"] == {pair[0]: "mit", pair[1]: "apache-2.0"}
        assert record["provenance"]["datasets"] == ["body", "head"]
        card = (tmp_path / "out" / "README.md").read_text()
        assert "license: apache-2.0" in card and "inherit:with:exact" in card and "body" in card and "head" in card

    def test_an_encoder_and_a_decoder_come_from_two_models(self, tmp_path: Path) -> None:
        first = model(tmp_path / "first", "transformers:BertModel", BERT, seed=1)
        causal = BERT | {"is_decoder": True}
        second = model(tmp_path / "second", "transformers:BertLMHeadModel", causal, seed=2)
        both = {"encoder": {"model_type": "bert", **BERT}, "decoder": {"model_type": "bert", **causal}}
        both["decoder"] |= {"add_cross_attention": True}
        config = {"model_type": "encoder-decoder", "architectures": ["EncoderDecoderModel"], **both}
        (tmp_path / "config.json").write_text(json.dumps(config))
        init = f"inherit:{tmp_path / 'first'}?with={tmp_path / 'second'}&into=encoder"
        prediction = prepare(str(tmp_path / "config.json"), init=init)
        state = prediction.state_dict()
        query = "encoder.layer.1.attention.self.query.weight"
        assert torch.equal(state[f"encoder.{query}"], first[query])
        assert torch.equal(state[f"decoder.bert.{query}"], second[f"bert.{query}"])
        assert prediction.rules["decoder.bert.encoder.layer.0.crossattention.self.query.weight"] == "library"
        without = prediction.by_rule.keys() - {"inherit:exact", "inherit:with:exact", "library"}
        assert not without

    @pytest.mark.slow
    def test_a_controlnet_begins_as_its_library_makes_it_of_a_unet(self, tmp_path: Path) -> None:
        from diffusers import ControlNetModel, UNet2DConditionModel

        kinds = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "norm_num_groups": 4}
        sizes = {
            "block_out_channels": (8, 16),
            "cross_attention_dim": 8,
            "layers_per_block": 1,
            "attention_head_dim": 4,
        }
        up = ("UpBlock2D", "CrossAttnUpBlock2D")
        unet: Any = UNet2DConditionModel(sample_size=16, up_block_types=up, **kinds, **sizes)
        unet.save_pretrained(tmp_path / "unet")
        wanted = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 4, 8))
        wanted.save_config(tmp_path / "control")
        init = f"inherit:{tmp_path / 'unet'}"
        state = prepare(str(tmp_path / "control" / "config.json"), init=init).state_dict()
        assert state.keys() == wanted.state_dict().keys()
        different = {name for name, value in wanted.state_dict().items() if not torch.equal(state[name], value)}
        assert {name.partition(".")[0] for name in different} <= {"controlnet_cond_embedding"}  # drawn from a seed
        wanted.load_state_dict(state)
        sample, words = torch.randn(1, 4, 16, 16), torch.randn(1, 3, 8)
        with torch.no_grad():
            down, middle = wanted(sample, 5, words, torch.randn(1, 3, 128, 128), return_dict=False)
        assert not any(bool(residual.any()) for residual in (*down, middle))  # so it changes nothing at first

    def test_a_single_donor_may_be_for_one_part(self, pair: tuple[str, str]) -> None:
        prediction = prepare(VIT, init=f"inherit:{pair[0]}?into=blocks.1", overrides=SMALL)
        taken = {name for name, rule in prediction.rules.items() if rule != "library"}
        assert taken and all(name.startswith("blocks.1.") for name in taken)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ("with={body}", "is not needed: the donors before it give everything"),
            ("with={head}", "Nothing of .*head' fits the slots .* that are left for it, 'head.bias' for instance"),
            ("into=neck", "has no such part. Parts: blocks, head"),
            ("with={gone}", "There is no folder or file"),
        ],
    )
    def test_what_makes_no_sense_is_one_line(self, pair: tuple[str, str], options: str, said: str) -> None:
        typed = options.format(body=pair[0], head=pair[1], gone=f"{pair[0]}-gone")
        classes = {"num_classes": 9} if "{head}" in options else {}
        with pytest.raises(OptionError, match=said) as caught:
            prepare(VIT, init=f"inherit:{pair[0]}?{typed}", overrides=SMALL | classes)
        assert "\n" not in str(caught.value)


RESNET, NARROW = "timm:resnet18", {"channels": [8, 8, 8, 8], "stem_width": 8, "num_classes": 5}


@pytest.fixture
def three(tmp_path: Path) -> list[dict[str, Tensor]]:
    return [model(tmp_path / name, RESNET, NARROW, seed=at, licence="mit") for at, name in enumerate("abc")]


def average(tmp_path: Path, names: str = "abc", options: str = "", **how: Any) -> Prediction:
    paths = ",".join(str(tmp_path / name) for name in names)
    return prepare(RESNET, init=f"average:{paths}{options}", overrides=NARROW | how)


class TestAverage:
    def test_every_value_is_the_mean(self, three: list[dict[str, Tensor]], tmp_path: Path) -> None:
        prediction = average(tmp_path)
        for name, value in prediction.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, torch.stack([state[name] for state in three]).mean(0))
            else:
                assert torch.equal(value, three[0][name])
        assert set(prediction.rules.values()) == {"average", "average:first"}
        weighted = average(tmp_path, options="?weights=1,0,3").state_dict()["fc.weight"]
        torch.testing.assert_close(weighted, 0.25 * three[0]["fc.weight"] + 0.75 * three[2]["fc.weight"])
        assert any("running statistics" in remark for remark in prediction.remarks)

    def test_the_record_and_the_card_name_all(self, three: list[dict[str, Tensor]], tmp_path: Path) -> None:
        init = f"average:{tmp_path / 'a'},{tmp_path / 'b'}"
        paramgen.write(RESNET, tmp_path / "out", init=init, overrides=NARROW)
        record = json.loads((tmp_path / "out" / "paramgen.json").read_text())
        assert list(record["initializer"]["averaged"]) == [str(tmp_path / "a"), str(tmp_path / "b")]
        assert record["initializer"]["shares"] == [0.5, 0.5]
        assert record["provenance"]["license"] == "mit" and record["provenance"]["datasets"] == ["a", "b"]
        card = (tmp_path / "out" / "README.md").read_text()
        assert "the average of trained models" in card and "license: mit" in card

    def test_two_tensors_are_in_memory_at_most(
        self, three: list[dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prediction = average(tmp_path)
        alive: list[weakref.ref[Tensor]] = []
        read = Stored.tensor

        def counted(stored: Stored) -> Tensor:
            alive[:] = [ref for ref in alive if ref() is not None]
            tensor = read(stored)
            alive.append(weakref.ref(tensor))
            assert len(alive) <= 2
            return tensor

        monkeypatch.setattr(Stored, "tensor", counted)
        for _, tensor in prediction:
            del tensor
        assert alive

    def test_what_differs_is_refused_by_its_first_name(self, three: list[dict[str, Tensor]], tmp_path: Path) -> None:
        file = tmp_path / "b" / "model.safetensors"
        for change, said in (
            ({"fc.bias": torch.zeros(6)}, "'fc.bias' of shape .6,., timm:resnet18"),
            ({"fc.bias": None}, "has no tensor 'fc.bias', which"),
            ({"fc.bias": torch.full((5,), torch.nan)}, "not finite in 'fc.bias'"),
        ):
            state = three[1] | change
            save_file({name: value for name, value in state.items() if value is not None}, file)
            with pytest.raises(OptionError, match=said) as caught:
                average(tmp_path).state_dict()
            assert "\n" not in str(caught.value)
        with pytest.raises(OptionError, match="shape .5,.* of .6,"):
            average(tmp_path, "ac", num_classes=6)

    @pytest.mark.parametrize(
        ("names", "options", "said"),
        [
            ("a", "", "average needs 2 to 64 models; given were 1"),
            ("", "", "given were 0"),
            ("ab", "?weights=1,2,3", r"weights is '1,2,3'. Allowed: 2 numbers.*weights=1,1"),
            ("ab", "?weights=0,0", "not all 0"),
            ("ab", "?weights=1,-1", "from 0 on"),
            ("ab", "?weights=nan,1", "weights is 'nan,1'"),
            ("ax", "", "There is no folder or file"),
        ],
    )
    def test_options_are_checked(
        self, three: list[dict[str, Tensor]], tmp_path: Path, names: str, options: str, said: str
    ) -> None:
        with pytest.raises(OptionError, match=said) as caught:
            average(tmp_path, names, options)
        assert "\n" not in str(caught.value)


class TestLicences:
    @pytest.mark.parametrize(
        ("licences", "result"),
        [
            (("mit", "mit"), "mit"),
            (("mit", "apache-2.0", "bsd-3-clause"), "apache-2.0"),
            (("mit", "cc-by-nc-4.0"), "cc-by-nc-4.0"),
            (("gpl-3.0", "gpl-3.0"), "gpl-3.0"),
            (("mit", None), None),
        ],
    )
    def test_the_licence_that_results(self, licences: tuple[str | None, ...], result: str | None) -> None:
        assert resulting_licence(dict(zip("abc", licences, strict=False))) == result

    @pytest.mark.parametrize("kind", ["average", "inherit"])
    def test_licences_that_exclude_each_other_are_an_error(self, kind: str, tmp_path: Path) -> None:
        model(tmp_path / "a", RESNET, NARROW, seed=1, licence="cc-by-nc-4.0")
        model(tmp_path / "b", RESNET, NARROW | {"num_classes": 7}, seed=2, licence="gpl-3.0")
        one, other = tmp_path / "a", tmp_path / "b"
        init = f"average:{one},{other}" if kind == "average" else f"inherit:{one}?with={other}"
        with pytest.raises(OptionError, match="is under 'cc-by-nc-4.0' and .* under 'gpl-3.0'") as caught:
            paramgen.write(RESNET, tmp_path / "out", init=init, overrides=NARROW)
        assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()

    def test_allowed_licences_hold_for_every_donor(self, pair: tuple[str, str]) -> None:
        with pytest.raises(OptionError, match="head' is under 'apache-2.0'. Allowed: mit"):
            initializer_of(f"inherit:{pair[0]}?with={pair[1]}&license_allow=mit").describe()
        with pytest.raises(OptionError, match="head' is under 'apache-2.0'. Allowed: mit"):
            initializer_of(f"average:{pair[0]},{pair[1]}?license_allow=mit").describe()
