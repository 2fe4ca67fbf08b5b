"""The metadata of a card, as the Hub reads it: library, task, tags, licence, and what the weights were taken from.

What is not plain from the folder's own files is left out. Everything may be anybody's: values are of a closed form.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

OURS: Final = "apache-2.0"
MAX_CARD: Final = 200_000
_TAG: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
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
# What the start of a builder's name says in torchvision; the others classify images.
_STARTS: Final = {
    "object-detection": ("fasterrcnn", "fcos", "keypointrcnn", "maskrcnn", "retinanet", "ssd"),
    "image-segmentation": ("deeplab", "fcn", "lraspp"),
    "video-classification": ("mc3", "mvit", "r2plus1d", "r3d", "s3d", "swin3d"),
    "": ("raft",),
}


def metadata(source: str, config: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of huggingface_hub's `ModelCardData`.

    Args:
        source: The library.
        config: The folder's config.json.
        inherited: What `Initializer.inherited` returned; empty where no weight is somebody's.

    """
    names = [_name(source, config), config.get("model_type") if source == "transformers" else None]
    return {
        "library_name": source if source in ("transformers", "timm", "diffusers") else "pytorch",
        "license": inherited.get("license") if inherited else OURS,
        "pipeline_tag": _task(source, config),
        "base_model": inherited.get("repo"),
        "datasets": inherited.get("datasets") or None,
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
        found = (metadata_load(file) if file.stat().st_size <= MAX_CARD else None) or {}
    except Exception:  # a card may be missing or anybody's, and YAML may fail in many ways: then nothing is known
        return {}
    return checked({"license": found.get("license"), "datasets": found.get("datasets")})


def checked(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return of `license`, `datasets` and `repo` what is of their form."""
    sets = known.get("datasets")
    data = [each for each in sets if _is_repository(each)] if isinstance(sets, list) else []
    kept = {"license": known.get("license"), "repo": known.get("repo")}
    plain = {key: value for key, value in kept.items() if _is_repository(value)}
    return plain | ({"datasets": data} if data else {})


def shipped_figures(initializer: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the figures that the card of a hypernet of the wheel has; none if these weights are not its own."""
    from hashlib import sha256

    from huggingface_hub import ModelCard

    name = str(initializer.get("hypernet", "")).removeprefix("paramgen/")
    folder = Path(str(files("paramgen"))) / "pretrained" / name
    if not re.fullmatch(r"\w+", name) or not (folder / "README.md").is_file():
        return []
    if sha256((folder / "model.safetensors").read_bytes()).hexdigest() != initializer.get("sha256"):
        return []
    results = ModelCard.load(folder / "README.md").data.eval_results or []
    return [(f"{each.dataset_name}: {each.metric_name}", each.metric_value) for each in results]


def _is_repository(value: object) -> bool:
    return isinstance(value, str) and _REPOSITORY.fullmatch(value) is not None


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
        starts = (task for task, words in _STARTS.items() if name.startswith(words))
        return next(starts, "image-classification") or None
    if source == "module" or name.endswith("WithLMHeadModel"):
        return None
    return next((task for ending, task in _ENDINGS.items() if name.endswith(ending)), None)
