"""The model card of a folder, README.md: what the Hub shows of it, made of paramgen.json and config.json alone.

The same folder gives the same bytes: no dates, nothing of the machine. The last line tells an edited card from ours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from json import dumps, loads
from typing import Any, Final, final

from paramgen.errors import OutputError
from paramgen.modelcard.card_data import checked, metadata, shipped_figures
from paramgen.modelcard.loading import building_lines, loading_lines
from paramgen.modelcard.markdown import cell, code, fenced, number, prose, shell, without_folders
from paramgen.modelcard.note_on_values import note_on_values
from paramgen.modelcard.preparation import preparation_call, preparation_cell, preparation_in, preparation_words
from paramgen.storage.seal import seal_of, sealed

TEMPLATE: Final = "card.md"
_WORDS: Final = {
    "sha256": "its sha256",
    "larger_model": "larger model",
    "smaller_model": "smaller model",
    "trained_model": "trained model",
    "donor_arch": "the donor's architecture",
    "measured": "table of measurements",
}
_OWN: Final = ("hypernet", "hypernet in part")  # the second of records that do not say which part
_DEFAULT_SHARD: Final = "5GB"
_NEW: Final = "Training begins at them: train the network before you use it."
_NATURES: Final = {
    "larger_model": "Some were taken from a larger model, which does not make one of this: train it before you use it.",
    "smaller_model": "They compute what a smaller model computes; what is new in them is to be trained.",
    "donor": "They come from a trained model, the donor, whose sizes may be others: train it before you use it.",
    "averaged": "They are the average of trained models, which may do less than any of them: train it before use.",
    "preparation": "They were trained a little, as preparation: train the network before you use it.",
    "trained_model": "They are a trained model's, with tables for another tokenizer: train it before you use it.",
}
_OPERATORS: Final = (
    "What `inherit` does to a donor's tensor: `exact` copies it, `select` takes channels at even distances, `grow` "
    "copies channels and shares out the weights that read them, `pool` takes means of heads or adds colours, `resize` "
    "scales kernels and positions, `repeat` uses a block more than once."
)


@final
@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture beside the card, and what it shows, in words of ours; a large one is folded away."""

    file: str
    title: str
    text: str
    sha256: str
    folded: bool = False

    def __str__(self) -> str:
        image = f"{seal_of(self.file, self.sha256)}\n![{self.text}]({self.file})"
        if not self.folded:
            return f"{image}\n\n{self.text}"
        return f"<details><summary>{self.title}</summary>\n\n{image}\n\n</details>"


def card_text(
    record: Mapping[str, Any],
    config: Mapping[str, Any],
    name: str,
    *,
    repo: str | None = None,
    pictures: Sequence[Picture] = (),
    notes: Sequence[str] = (),
) -> str:
    """Return the card of a folder.

    Args:
        record: Its paramgen.json.
        config: Its config.json.
        name: What the folder is called.
        repo: The Hub's repository that it goes to, if it does.
        pictures: Pictures beside it.
        notes: Sentences that join the limits.

    """
    from huggingface_hub import ModelCard, ModelCardData

    _refuse_shapeless(record)
    source, provenance = record["source"], checked(record.get("provenance") or {})
    share = _share(record)
    taken = bool(record.get("provenance")) and share != 0.0
    data = metadata(source, config, {"from": True, **provenance} if taken else {})
    loading, note = _loading(source, config, repo or name, on_hub=repo is not None)
    command = command_of(record, name)
    known = [] if share == 0.0 else shipped_figures(record["initializer"])
    figures = known if _within(record) else []
    card = ModelCard.from_template(
        ModelCardData(**data),
        template_str=(files("paramgen.modelcard") / TEMPLATE).read_text(encoding="utf-8"),
        subject=data["tags"][2] if len(data["tags"]) > 2 else code(without_folders(record["spec"])),
        nature=next((text for key, text in _NATURES.items() if record["initializer"].get(key)), _NEW),
        loading=loading,
        note_on_loading=note,
        facts=_facts(record),
        command=None if command is None else fenced([shell(command)], "sh"),
        note_on_command=_note_on_command(record, command),
        rules=_rules(record),
        note_on_rules=_note_on_rules(record),
        measured=_measured(record, known=bool(known)),
        figures=[
            (prose(what), f"{value:g}" if isinstance(value, float) else prose(str(value))) for what, value in figures
        ],
        pictures=[str(picture) for picture in pictures],
        limits=[*_limits(record, data), *map(prose, notes)],
    )
    text = str(card).rstrip("\n") + "\n"
    return sealed(text)


def command_of(record: Mapping[str, Any], name: str) -> list[str] | None:
    """Return the command that makes the same bytes again; None where no command can, as with a live module."""
    requested = record.get("requested") or {}
    if requested.get("arch") is None:
        return None
    prepared = preparation_in(record)
    training = preparation_words(prepared) if prepared else []
    words = ["paramgen", "prepare" if prepared else "predict", "--arch", without_folders(str(requested["arch"]))]
    for key, value in (requested.get("overrides") or {}).items():
        words += ["--set", f"{key}={_typed(value)}"]
    if requested.get("example_input"):
        words += ["--example-input", str(requested["example_input"])]
    words += ["--init", without_folders(_init(record)), "--seed", str(record["seed"])]
    if record.get("dtype"):
        words += ["--dtype", str(record["dtype"])]
    if requested.get("max_shard", _DEFAULT_SHARD) != _DEFAULT_SHARD:
        words += ["--max-shard", _size(requested["max_shard"])]
    if isinstance(rounded := record.get("quantization"), dict):
        words += ["--quantize", f"{rounded.get('kind')}?block={rounded.get('block')}"]
    for option, companion in requested.get("companion_files") or ():
        words += [str(option), without_folders(str(companion))]
    return None if training is None else [*words, *training, "--out", name]


def weights_digest(record: Mapping[str, Any]) -> str:
    """Return one sha256 over the names of all tensors and the sha256 of each."""
    lines = (f"{name} {entry.get('sha256')}\n" for name, entry in sorted(record["tensors"].items()))
    return sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _refuse_shapeless(record: Mapping[str, Any]) -> None:
    """Refuse a record that lacks what a card is made of, or has something else in its place."""
    needed = {"source": str, "spec": str, "init": str, "initializer": dict, "graph": dict, "seed": int, "tensors": dict}
    wrong = [key for key, kind in needed.items() if not isinstance(record.get(key), kind)]
    wrong += [
        key for key in ("requested", "provenance", "versions", "tied") if not isinstance(record.get(key) or {}, dict)
    ]
    if not wrong and not all(isinstance(entry, dict) for entry in record["tensors"].values()):
        wrong = ["tensors"]
    if not wrong and not _is_pairs((record.get("requested") or {}).get("companion_files") or []):
        wrong = ["requested"]
    if not wrong and not isinstance((record.get("requested") or {}).get("overrides") or {}, dict):
        wrong = ["requested"]
    if wrong:
        raise OutputError(f"paramgen.json has no {wrong[0]!r} that a card can be made of. Predict the folder again.")


def _is_pairs(given: object) -> bool:
    return isinstance(given, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in given)


def _init(record: Mapping[str, Any]) -> str:
    """Return the initializer as it is typed; of one that was chosen, that one: the next version may choose another.

    A tokenizer that was named to the initializer alone, and is not copied, is named to the one that was chosen.
    """
    described = record["initializer"]
    if not (resolved := described.get("resolved")):
        return str(record["init"])
    companions = (record.get("requested") or {}).get("companion_files") or ()
    copied = any(option == "--tokenizer" for option, _ in companions)
    tokenizer = described.get("tokenizer")
    named = tokenizer and not copied and "?" not in resolved
    return f"{resolved}?tokenizer={_typed(tokenizer)}" if named else str(resolved)


def _typed(value: Any) -> str:
    """Return an override as it is typed: text as it is, unless it would be read as something else."""
    if not isinstance(value, str):
        return dumps(value)
    try:
        loads(value)
    except ValueError:
        return value if value == value.strip() and value not in ("True", "False", "None") else dumps(value)
    return dumps(value)


def _size(size: Any) -> str:
    return f"{size}B" if isinstance(size, int) else str(size)


def _loading(source: str, config: Mapping[str, Any], where: str, *, on_hub: bool) -> tuple[str, str]:
    """Return the block that loads the weights, and a sentence on it."""
    if source != "module":
        lines = loading_lines(source, config, where, on_hub=on_hub)
        names = {"torchvision": "`paramgen` builds the network with torchvision and loads the state dict into it."}
        return fenced(lines, "python"), names.get(source, "")
    imported, built = building_lines(config)
    lines = loading_lines(source, config, where, on_hub=on_hub, module=built or "module")
    if built:
        return fenced((imported, *lines), "python"), "The network's own Python file is needed; it is not part of this."
    return fenced(lines, "python"), "`module` is the network, built by your own code, which is not part of this."


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    graph, initializer = record["graph"], dict(record["initializer"])
    if _share(record) == 0.0:  # a hypernet was requested, and filled nothing
        initializer = {key: value for key, value in initializer.items() if key not in ("hypernet", "sha256")}
    resolved, family = initializer.pop("resolved", None), initializer.pop("family", None)
    initializer.pop("reason", None)
    prepared = initializer.pop("preparation", None) and preparation_in(record)
    init_cell = cell(without_folders(record["init"]))
    if resolved is not None:
        init_cell += f", which chose {cell(str(resolved))} for this {prose(str(family).replace('_', ' '))}"
    versions = {"paramgen": record.get("paramgen"), **(record.get("versions") or {})}
    rows = [
        ("architecture", cell(without_folders(record["spec"]))),
        ("parameters", number(record.get("parameters"))),
        ("initializer", init_cell),
        *((("prepared by", preparation_cell(prepared)),) if prepared else ()),
        *((_WORDS.get(key, prose(key)), _described(value)) for key, value in initializer.items()),
        ("seed", str(record["seed"])),
        ("dtype", cell(str(record["dtype"])) if record.get("dtype") else "the architecture's own"),
        ("graph", f"{number(graph.get('nodes'))} nodes, sha256 {cell(str(graph.get('sha256')))}"),
        ("weights", f"{len(record['tensors']):,} tensors, sha256 of theirs {cell(weights_digest(record))}"),
        ("made with", ", ".join(f"{prose(name)} {prose(str(number))}" for name, number in versions.items())),
    ]
    return rows


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{prose(str(key))} {cell(without_folders(str(item)))}" for key, item in value.items())
    return cell(without_folders(str(value))) if value != "" else "-"


def _note_on_command(record: Mapping[str, Any], command: Sequence[str] | None) -> str:
    requested = record.get("requested") or {}
    notes = []
    if command is None:
        notes.append(
            "They were made for a network that was there in Python, so no command makes them again: "
            f"{code(_call(record))} does, with the same network."
        )
    if requested.get("example_input") == "":
        notes.append("An example input was given that cannot be typed; the same one is needed.")
    if any(without_folders(str(spec)) != spec for spec in (requested.get("arch") or "", _init(record))):
        notes.append("Paths are shortened to their last names: type it where these are.")
    return " ".join(notes)


def _call(record: Mapping[str, Any]) -> str:
    dtype = f", dtype={record['dtype']!r}" if record.get("dtype") else ""
    if prepared := preparation_in(record):
        return preparation_call(prepared, _init(record))
    return f"paramgen.write(module, FOLDER, init={without_folders(_init(record))!r}, seed={record['seed']}{dtype})"


def _rules(record: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    tensors, values = Counter[str](), Counter[str]()
    tied = record.get("tied") or {}
    for name, entry in record["tensors"].items():
        if name not in tied:
            shares = _shares(entry)
            tensors.update(shares.keys())
            values.update(shares)
    whole = max(1, sum(values.values()))
    return [
        (cell(rule), f"{tensors[rule]:,}", f"{count:,}", f"{100 * count / whole:.1f} %")
        for rule, count in values.most_common()
    ]


def _shares(entry: Mapping[str, Any]) -> dict[str, int]:
    """Return the elements of a tensor by the rule that filled them."""
    said = entry.get("filled_elements")
    if isinstance(said, dict) and said and all(type(count) is int and 0 <= count < 2**63 for count in said.values()):
        return {str(rule): count for rule, count in said.items()}
    return {str(entry.get("rule")): _elements(entry.get("shape"))}


def _elements(shape: Any) -> int:
    count = 1
    for size in shape if isinstance(shape, list) else [0]:
        count *= size if isinstance(size, int) else 0
    return count


def _note_on_rules(record: Mapping[str, Any]) -> str:
    ties = len(record.get("tied") or {})
    tied = f" {ties:,} more {'name shares its' if ties == 1 else 'names share their'} tensor with one of these."
    shared = any(entry.get("filled_elements") for entry in record["tensors"].values())
    parts = " A tensor that several rules fill, each its part, counts for each." if shared else ""
    return (
        f"Values are parameters and buffers.{parts} `library` is what the network's own library draws. paramgen.json "
        f"has the rule, mean, standard deviation and sha256 of every tensor; `paramgen check` compares them."
        f"{tied if ties else ''}{note_on_values(record)}{_note_on_donor(record)}"
    )


def _note_on_donor(record: Mapping[str, Any]) -> str:
    """Say what is done to a donor's tensors, and what was decided about its output and function."""
    said, entries = record.get("remarks") or [], record["tensors"].values()
    if not record["initializer"].get("donor") or not isinstance(said, list):
        return ""
    if not any(str(entry.get("rule")).startswith("inherit:") for entry in entries):
        return "".join(f" {prose(str(remark))}" for remark in said)
    return f" {_OPERATORS}" + "".join(f" {prose(str(remark))}" for remark in said)


def _share(record: Mapping[str, Any]) -> float | None:
    """Return how much of all values a hypernet filled; None where none was requested, or its tensors are not known."""
    if "hypernet" not in record["initializer"] or not record["tensors"]:
        return None
    tied = record.get("tied") or {}
    entries = [_shares(entry) for name, entry in record["tensors"].items() if name not in tied]
    own = sum(count for shares in entries for rule, count in shares.items() if rule in _OWN)
    return own / max(1, sum(sum(shares.values()) for shares in entries))


def _reach(record: Mapping[str, Any]) -> tuple[int, int]:
    """Return on how many networks of this one's kind its hypernet was measured, and the parameters of the largest."""
    said = record.get("measured")
    counts = [said.get(key) if isinstance(said, dict) else None for key in ("networks", "largest")]
    networks, largest = (count if type(count) is int and 0 <= count < 2**63 else 0 for count in counts)
    return networks, largest


def _within(record: Mapping[str, Any]) -> bool:
    """Whether networks of this kind and size were measured."""
    networks, largest = _reach(record)
    parameters = record.get("parameters")
    return networks > 0 and isinstance(parameters, int) and parameters <= largest


def _measured(record: Mapping[str, Any], *, known: bool) -> str:
    """Say what was measured, and of which networks; `known` if there are figures of the hypernet."""
    initializer = record["initializer"]
    notes = ["On this network itself, with these weights, nothing was measured."]
    if initializer.get("reason"):
        chosen = cell(str(initializer.get("resolved")))
        notes.append(f"{chosen} was chosen by what is known of its family: {prose(str(initializer['reason']))}.")
    if not known:
        return " ".join(notes)
    (networks, largest), name = _reach(record), code(str(initializer["hypernet"]))
    if _within(record):
        notes.append(f"Of the hypernet {name}, on other networks (its own card has more):")
    elif networks:
        notes.append(
            f"With the hypernet {name}, networks of this kind were measured up to {largest:,} parameters; this one has "
            f"{number(record.get('parameters'))}, and at that size nothing was."
        )
    else:
        notes.append(f"With the hypernet {name}, no network of this kind was measured, or it is not known which.")
    return " ".join(notes)


def _limits(record: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    limits = [
        "They are initial weights, and promise nothing about where training ends: that depends on data and recipe.",
        "The same bytes are promised for the same versions of paramgen, torch and the network's library.",
    ]
    unreachable = record["graph"].get("unreachable")
    if isinstance(unreachable, list) and unreachable:
        limits.append(
            f"No path of the graph leads through {len(unreachable):,} of the tensors, which have the default "
            "initialization."
        )
    share = _share(record)
    if record.get("provenance") and share != 0.0:
        origin = code(without_folders(str(record["provenance"].get("from"))))
        licence = f"which is under {code(str(data['license']))}; so are they"
        unknown = "whose licence is not known here and holds for them, too: look it up before you publish"
        what = "They come" if share is None or share == 1.0 else f"{100 * share:.1f} % of their values come"
        limits.append(f"{what} from {origin}, {licence if data['license'] else unknown}.")
    return limits
