"""What of a folder goes to the Hub, once the folder has been found to be what it says.

That is a prediction, or what predicts: a hypernet, or a pipeline that denoises weights.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

from paramgen.architectures import read_config
from paramgen.architectures.ownership import MODULE_RECORD, SIGNATURE
from paramgen.errors import CheckError, HubError, one_line
from paramgen.hub.commit import MAIN, PIPELINE, Progress, Target, push
from paramgen.hub.kinds import is_hypernet
from paramgen.hub.pushed import Pushed
from paramgen.hypernets.loading import load
from paramgen.hypernets.storage import CONFIG, WEIGHTS
from paramgen.modelcard.loading import loading_lines
from paramgen.modelcard.markdown import without_folders
from paramgen.output.verify import check_folder, read_report
from paramgen.output.write import Written
from paramgen.storage.record import REPORT
from paramgen.storage.seal import CARD

FIGURES: Final = "figures"
_PICTURES: Final = (".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp")
_CONVERTED: Final = "converted.json"
_NAME: Final = re.compile(rf"(?:{FIGURES}/)?\w[\w.-]*")
_PREDICT: Final = "Type: paramgen predict --arch NAME --out FOLDER"


@final
@dataclass(frozen=True, kw_only=True)
class Pushable:
    """A folder that was checked: its files, and the source whose library loads it.

    Of what predicts, `source` is the word that stands before it in `--init`: `hypernet` or `diffusion`.
    """

    folder: Path
    files: Mapping[str, Path]
    source: str
    config: Mapping[str, Any]
    message: str


def push_folder(
    folder: Path,
    target: Target,
    *,
    message: str | None = None,
    checked: bool = False,
    progress: Progress | None = None,
) -> Pushed:
    """Check a folder that paramgen wrote and make the repository hold its files by one commit."""
    found = pushable(folder, checked=checked)
    with TemporaryDirectory() as scratch:
        files = {**found.files, **_without_folders(found, Path(scratch))}
        pushed = push(files, target, message=message or found.message, progress=progress)
    return replace(pushed, loading=_loading(found, pushed))


def push_written(
    written: Written, target: Target, message: str | None, *, kept: bool, progress: Progress | None
) -> Written:
    """Push what has just been written and, as a rule, checked."""
    checked = written.checked is not None
    pushed = push_folder(written.folder, target, message=message, checked=checked, progress=progress)
    return replace(written, pushed=pushed, kept=kept)


def _loading(found: Pushable, pushed: Pushed) -> tuple[str, ...]:
    """Return the lines that load what was pushed, or predict with it, on any machine."""
    revision = None if pushed.revision == MAIN else pushed.revision
    if found.source in ("hypernet", "diffusion"):
        of_what = "--arch NAME" if found.source == "hypernet" else "--prompt WORDS"
        at = f"@{revision}" if revision else ""
        return (f"paramgen predict {of_what} --init {found.source}:{pushed.repo}{at}",)
    module = "module" if found.source == "module" else ""
    lines = loading_lines(found.source, found.config, pushed.repo, on_hub=True, module=module, revision=revision)
    return tuple(f">>> {line}" for line in lines)


def pushable(folder: Path, *, checked: bool = False) -> Pushable:
    """Return what of `folder` is to be pushed; `checked` says that its content has just been compared.

    Raises:
        CheckError: It has changed since it was written, or is not whole.
        HubError: It is not one of paramgen's.

    """
    record = read_report(folder)
    if record:
        if not checked:
            check_folder(folder)
        return _prediction(folder, record)
    if (folder / PIPELINE).is_file():
        return _pipeline(folder)
    if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
        config = read_config(folder)
        if is_hypernet(config):
            load(str(folder))  # which refuses what is not whole
            names = [name for name in (CONFIG, WEIGHTS, _CONVERTED) if (folder / name).is_file()]
            message = "A hypernet of paramgen"
            return Pushable(
                folder=folder, files=_files(folder, names), source="hypernet", config=config, message=message
            )
    raise HubError(
        f"{str(folder)!r} was not written by paramgen: it has no {REPORT}, and is no hypernet or pipeline. {_PREDICT}"
    )


def _pipeline(folder: Path) -> Pushable:
    from paramgen.diffusion.loading import open_pipeline

    files = _files(folder, list(open_pipeline(str(folder)).files))  # which refuses what is not whole
    return Pushable(
        folder=folder, files=files, source="diffusion", config={}, message="A pipeline of paramgen: weights from words"
    )


def _without_folders(found: Pushable, scratch: Path) -> dict[str, Path]:
    """Return copies of our records that name no folder above a file: those say something of a machine and its user.

    The signature of an own module's record goes too: it holds on this machine only.
    """
    copies: dict[str, Path] = {}
    sizes: dict[str, int] = {}
    digests: dict[str, str] = {}
    for name in (CONFIG, MODULE_RECORD, REPORT):  # the last says how large the others are
        if name not in found.files or (found.source != "module" and name != REPORT):
            continue
        given = json.loads(found.files[name].read_text(encoding="utf-8"))
        short = _shortened(given)
        if name == REPORT:
            short["files"] |= sizes
            if isinstance(short.get("digests"), dict):
                short["digests"] |= digests
        if short != given:
            text = json.dumps(short, indent=1) + "\n"
            copies[name], sizes[name] = scratch / name, len(text.encode())
            digests[name] = sha256(text.encode()).hexdigest()
            copies[name].write_text(text, encoding="utf-8")
    return copies


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return without_folders(value)
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items() if key != SIGNATURE}
    return value


def _prediction(folder: Path, record: Mapping[str, Any]) -> Pushable:
    listed = record.get("files")
    if not isinstance(listed, dict) or not all(_NAME.fullmatch(name) for name in listed):
        raise CheckError(f"{folder / REPORT} lists no files. Predict the folder again.")
    files = _files(folder, [*listed, REPORT])
    for name, size in listed.items():
        edited = name == CARD or name.startswith(FIGURES)  # the user may have edited them
        if not edited and files[name].stat().st_size != size:
            raise CheckError(f"{name} in {folder} has changed since it was written. Predict the folder again.")
    spec, init, seed = (one_line(record.get(key)) for key in ("spec", "init", "seed"))
    return Pushable(
        folder=folder,
        files=files,
        source=str(record.get("source")),
        config=read_config(folder),
        message=f"Initial weights of {spec} by {init}, seed {seed}",
    )


def _is_figure(path: Path) -> bool:
    """Whether a card could show it; whatever else somebody laid beside the figures stays where it is."""
    return path.is_symlink() or path.is_dir() or (path.suffix.lower() in _PICTURES and path.name[0] != ".")


def _files(folder: Path, names: list[str]) -> dict[str, Path]:
    """Return the named files, the card and its figures; a link could bring a file from elsewhere to the Hub."""
    found = {name: folder / name for name in names}
    if (folder / CARD).exists():
        found[CARD] = folder / CARD
    if (folder / FIGURES).is_dir():
        found |= {f"{FIGURES}/{path.name}": path for path in sorted((folder / FIGURES).iterdir()) if _is_figure(path)}
    folders = {folder / FIGURES, *(path.parent for path in found.values())} - {folder}
    for path in (*sorted(folders), *found.values()):
        if path.is_symlink() or (path not in folders and not path.is_file()):
            raise CheckError(f"{str(path)!r} is missing, a link or no file. Predict the folder again.")
    return found
