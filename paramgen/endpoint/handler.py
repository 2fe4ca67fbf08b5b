"""What Hugging Face Inference Endpoints calls: a network comes as JSON, its weights go as JSON, or to the Hub.

The toolkit around it lets nothing out but JSON, runs one request at a time, and brings transformers 4 and
huggingface_hub 0.x. So nothing of theirs is imported before it is needed: a graph needs neither.
"""

from base64 import b64encode
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, OutputError, ParamgenError, one_line
from paramgen.graphs.schema import Graph
from paramgen.graphs.wire import graph_from_data
from paramgen.initializers import initializer_of
from paramgen.initializers.auto import MAX_RUN
from paramgen.names import REPOSITORY, checked_arch, checked_init, shipped_hypernets
from paramgen.prediction import DTYPES, Asked, Prediction, describe, settled
from paramgen.writing import plan_files, write_prediction

MAX_ANSWERED: Final = 64 * 2**20
MAX_PUSHED: Final = 16 * 10**9
_INPUTS: Final = ("arch", "graph")
_PARAMETERS: Final = ("init", "seed", "dtype", "push", "token")
_NEWEST: Final = {"transformers": 5}  # the major version that our readers of a library are written for
_USAGE: Final = 'Send {"inputs": {"arch": "timm:resnet18"}}, or {"inputs": {"graph": what paramgen graph writes}}'


@final
class EndpointHandler:
    """`path` is the folder it lies in; whatever an error says is answered as one line, with the status 400."""

    def __init__(self, path: str = "") -> None:
        self.path = path

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the weights, or where they are."""
        given = data.get("parameters") or {}
        prediction = _prediction(data.get("inputs"), given)
        push, token = given.get("push"), given.get("token")
        if push is None:
            _refuse_large(prediction, MAX_ANSWERED)
        else:
            _refuse_large(prediction, MAX_PUSHED)
            if not isinstance(push, str) or not REPOSITORY.fullmatch(push) or not isinstance(token, str) or not token:
                raise OptionError('To push, send both in "parameters": "push": "OWNER/NAME", "token": your own.')
        with TemporaryDirectory() as made:
            folder = Path(made) / "start"
            # Not loaded here: its library may be another version, or none.
            write_prediction(prediction, folder, max_shard="5GB", overwrite=False, verify=False)
            return _summary(prediction) | (_inline(folder) if push is None else _pushed(folder, push, str(token)))


def _prediction(inputs: Any, given: Any) -> Prediction:
    if isinstance(inputs, str):
        inputs = {"arch": inputs}
    if not isinstance(inputs, dict) or len(inputs) != 1 or not set(inputs) <= set(_INPUTS):
        raise OptionError(f"No network is named. {_USAGE}")
    if not isinstance(given, dict) or not set(given) <= set(_PARAMETERS):
        raise OptionError(f"Unknown parameters. Allowed: {', '.join(_PARAMETERS)}")
    init, seed, dtype = given.get("init", "auto"), given.get("seed", 0), given.get("dtype")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise OptionError(f"The seed is {one_line(repr(seed))}; allowed are 0 to 2**63 - 1.")
    if dtype is not None and dtype not in DTYPES:
        raise OptionError(f"Unknown dtype {one_line(repr(dtype))}. Known: {', '.join(DTYPES)}")
    if not isinstance(init, str):
        raise OptionError(f"The start is {one_line(repr(init))}; it must be a name, as in he or auto.")
    if init.partition("?")[0] == "diffusion":
        raise OptionError("Weights from words are not served here. Type: paramgen predict --prompt WORDS")
    initializer = initializer_of(checked_init(init, shipped_hypernets()))
    arch = inputs.get("arch")
    architecture, graph = _named(arch) if "arch" in inputs else graph_from_data(inputs["graph"])
    asked = Asked(arch=arch)
    found = settled(architecture, graph, initializer, init=init, seed=seed, dtype=dtype, asked=asked)
    if found.initializer.runs_network and found.architecture.manifest.elements > MAX_RUN:
        raise OptionError(f"{init!r} runs the network, which has more than {MAX_RUN:,} elements.")
    return found


def _named(arch: Any) -> tuple[Architecture, Graph]:
    """Build a network by a library's name; of any other, the graph says everything."""
    from paramgen.architectures.aliases import ALIASES

    if not isinstance(arch, str):
        raise OptionError(f"{one_line(repr(arch))} is no name. {_USAGE}")
    name, overrides = checked_arch(arch, {})
    source, colon, _ = ALIASES.get(name, name).partition(":")
    if colon:
        _refuse_old(source, name)
    try:
        return describe(name, overrides=overrides)
    except ParamgenError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:  # of a version we do not know
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise OptionError(f"{source} cannot build {arch!r} here ({reason}). {_ADVICE}") from error


_ADVICE: Final = "Send its graph instead, which needs no library: paramgen graph --arch NAME --out g.json"


def _refuse_old(source: str, arch: str) -> None:
    try:
        found = version(source)
    except PackageNotFoundError as error:
        raise OptionError(f"{source} is not installed here, so there is no {arch!r}. {_ADVICE}") from error
    least = _NEWEST.get(source, 0)
    if int(found.partition(".")[0]) < least:
        raise OptionError(f"{arch!r} needs {source} {least} or newer; here is {found}. {_ADVICE}")


def _refuse_large(prediction: Prediction, most: int) -> None:
    """Refuse what does not fit before anything is computed."""
    nbytes = sum(plan_files(prediction, "5GB").sizes.values())
    if nbytes > most:
        raise OptionError(
            f"The weights have {nbytes:,} bytes; allowed are {most:,}. Send a smaller dtype, or have them pushed: "
            '"parameters": {"push": "OWNER/NAME", "token": your own}'
        )


def _summary(prediction: Prediction) -> dict[str, Any]:
    return {
        "spec": prediction.architecture.spec,
        "init": prediction.init,
        "chosen": dict(prediction.chosen),
        "seed": prediction.seed,
        "parameters": prediction.architecture.manifest.parameters,
        "by_rule": prediction.by_rule,
    }


def _inline(folder: Path) -> dict[str, Any]:
    """Return the folder's weights in base64 and what else is needed to load them."""
    (weights,) = folder.glob("*.safetensors")
    data = weights.read_bytes()
    return {
        "format": "safetensors",
        "encoding": "base64",
        "file": weights.name,
        "sha256": sha256(data).hexdigest(),
        "files": {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.json"))},
        "data": b64encode(data).decode(),
    }


def _pushed(folder: Path, repo: str, token: str) -> dict[str, Any]:
    """Push with the caller's own token, which is kept nowhere."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        url = api.create_repo(repo, private=True, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Initial weights by paramgen")
    except Exception as error:  # of whatever HTTP library that version has; the token must not be in what is said
        reason = one_line(f"{type(error).__name__}: {error}").replace(token, "...")
        raise OutputError(f"Pushing to {repo!r} failed: {reason} Check the name, and the token's rights.") from None
    return {"pushed": str(url), "commit": done.oid}
