"""The metadata of a card, as the Hub reads it: library, task, tags, licence, and what the weights were taken from.

What is not plain from the folder's own files is left out. Nothing is trusted: values are of a closed form.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from paramgen.registry.repository_names import is_repository
from paramgen.storage.digest import cached_sha256
from paramgen.storage.pretrained import pretrained_folder

OURS: Final = "apache-2.0"
MAX_SHIPPED_CARD_BYTES: Final = 200_000
_TAG: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
# What the end of a class's name says its network is for; of transformers and diffusers.
_ENDINGS: Final = {
    "ForImageClassification": "image-classification",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForObjectDetection": "object-detection",
    "ForSemanticSegmentation": "image-segmentation",
    "ForDepthEstimation": "depth-estimation",
    "ForVideoClassification": "video-classification",
    "ForAudioClassification": "audio-classification",
    "ForCTC": "automatic-speech-recognition",
    "ForSpeechSeq2Seq": "automatic-speech-recognition",
    "UNet2DModel": "unconditional-image-generation",
}
# What the beginning of a builder's name says in torchvision; the others classify images.
_BEGINNINGS: Final = {
    "object-detection": ("fasterrcnn", "fcos", "keypointrcnn", "maskrcnn", "retinanet", "ssd"),
    "image-segmentation": ("deeplab", "fcn", "lraspp"),
    "video-classification": ("mc3", "mvit", "r2plus1d", "r3d", "s3d", "swin3d"),
    "": ("raft",),
}


def metadata(source: str, config: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of huggingface_hub's `ModelCardData`.

    Args:
        source: The library.
        config: The folder's config.json.
        provenance: What `Initializer.provenance` returned; empty where no weights of others were used.

    """
    names = [_name(source, config), config.get("model_type") if source == "transformers" else None]
    return {
        "library_name": source if source in ("transformers", "timm", "diffusers") else "pytorch",
        "license": provenance.get("license") if provenance else OURS,
        "pipeline_tag": _task(source, config),
        "base_model": provenance.get("repo"),
        "datasets": provenance.get("datasets") or None,
        "tags": ["paramgen", "weight-initialization", *(name for name in names if is_tag(name))],
    }


def is_tag(name: object) -> bool:
    """Whether a name may stand among the tags."""
    return isinstance(name, str) and _TAG.fullmatch(name) is not None


def known_of(folder: Path) -> dict[str, Any]:
    """Return the licence and the data sets that the card in a folder of weights names."""
    from huggingface_hub.repocard import metadata_load

    file = folder / "README.md"
    try:
        found = (
            metadata_load(file) if file.is_file() and file.stat().st_size <= MAX_SHIPPED_CARD_BYTES else None
        ) or {}
    except Exception:  # a card may be missing or anybody's, and YAML may fail in many ways: then nothing is known
        return {}
    return checked({"license": found.get("license"), "datasets": found.get("datasets")})


def checked(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return of `license`, `datasets` and `repo` what is of their form."""
    sets = known.get("datasets")
    data = [each for each in sets if is_repository(each, with_owner=False)] if isinstance(sets, list) else []
    repo = known.get("repo")
    several = [each for each in repo if is_repository(each)] if isinstance(repo, list) else []
    kept = {"license": known.get("license"), "repo": repo}
    plain = {key: value for key, value in kept.items() if is_repository(value, with_owner=False)}
    return plain | ({"repo": several} if several else {}) | ({"datasets": data} if data else {})


def shipped_figures(initializer: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the figures that the card of a hypernet of the wheel has; none if these weights are not its own."""
    from huggingface_hub import ModelCard

    name = str(initializer.get("hypernet", "")).removeprefix("paramgen/")
    folder = pretrained_folder(name)
    if not re.fullmatch(r"\w+", name) or not (folder / "README.md").is_file():
        return []
    if cached_sha256(folder / "model.safetensors") != initializer.get("sha256"):
        return []
    results = ModelCard.load(folder / "README.md").data.eval_results or []
    return [(f"{each.dataset_name}: {each.metric_name}", each.metric_value) for each in results]


def _name(source: str, config: Mapping[str, Any]) -> object:
    if source == "transformers":
        names = config.get("architectures")
        return names[0] if isinstance(names, list) and names else None
    return config.get({"diffusers": "_class_name"}.get(source, "architecture"))


def _task(source: str, config: Mapping[str, Any]) -> str | None:
    name = str(_name(source, config))
    if source == "timm":
        return "image-classification" if config.get("num_classes") else "image-feature-extraction"
    if source == "torchvision":
        found = (task for task, words in _BEGINNINGS.items() if name.startswith(words))
        return next(found, "image-classification") or None
    if source == "module" or name.endswith("WithLMHeadModel"):
        return None
    return next((task for ending, task in _ENDINGS.items() if name.endswith(ending)), None)
