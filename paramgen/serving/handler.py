"""The handler of a Hugging Face Inference Endpoint: a network comes as JSON, its weights go as JSON or to the Hub.

The toolkit around it answers in JSON only, runs one request at a time, and has transformers 4 and huggingface_hub 0.x.
So neither is imported before it is needed: a graph needs none of them. Names, sizes of networks, memory and time of a
request are limited as in the service.
"""

from base64 import b64encode
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

from paramgen.architectures import Architecture
from paramgen.errors import ArchitectureError, OptionError, OutputError, one_line
from paramgen.graphs.schema import Graph
from paramgen.initializers import initializer_of
from paramgen.output.planning import FolderPlan, plan_folder
from paramgen.output.write import write_prediction
from paramgen.prediction import DTYPES, Prediction, Requested, prediction_of
from paramgen.registry.chains import split_chain
from paramgen.registry.repository_names import is_repository
from paramgen.serving.admission import Limits, graph_within, network_within, peak_within
from paramgen.serving.allowlist import TOKEN, checked_arch, checked_init
from paramgen.serving.clock import Clock, apart
from paramgen.serving.memory import machine_memory
from paramgen.storage.json_file import MAX_DEPTH, is_deeper

MAX_ANSWERED: Final = 64 * 2**20
MAX_REQUEST_TEXT: Final = 1000  # characters of a name with its options
SECONDS: Final = 300.0  # for building and tracing, and for predicting and writing, each
MAX_PUSHED: Final = 16 * 10**9
_INPUTS: Final = ("arch", "graph")
_PARAMETERS: Final = ("init", "seed", "dtype", "push", "token")
_NEWEST: Final = {"transformers": 5}  # the major version that our readers of a library are written for
_USAGE: Final = 'Send {"inputs": {"arch": "timm:resnet18"}}, or {"inputs": {"graph": what paramgen graph writes}}'


@final
class EndpointHandler:
    """Answers one request after the other; `path` is the endpoint's folder. Errors are answered with one line."""

    def __init__(self, path: str = "") -> None:
        self.path = path

    def __call__(self, data: Any) -> dict[str, Any]:
        """Return the weights, or where they were pushed."""
        inputs, given = _read(data)
        push, token = _target(given)
        prediction = apart(_Clock(SECONDS), lambda: _prediction(inputs, given))
        plan = plan_folder(prediction)
        _refuse_large(plan, MAX_ANSWERED if push is None else MAX_PUSHED)
        with TemporaryDirectory() as made:
            folder = Path(made) / "weights"
            apart(_Clock(SECONDS), lambda: _write(plan, folder))
            return _summary(prediction) | (_inline(folder) if push is None else _pushed(folder, push, token))


@final
class _Clock(Clock):
    """The clock of one half of a request."""

    def late(self) -> OptionError:
        """Return the error that the caller gets when the time is up."""
        return OptionError(
            f"It takes more than {self.seconds:g} seconds, which is what one request gets. Request a smaller network."
        )


def _write(plan: FolderPlan, folder: Path) -> None:
    # Not verified by loading: its library may be missing or another version.
    write_prediction(plan, folder)


def _read(data: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return inputs and parameters, once their form is checked."""
    if not isinstance(data, dict):
        raise OptionError(f"A {type(data).__name__} is no request. {_USAGE}")
    if is_deeper(data, MAX_DEPTH):
        raise OptionError(f"A request is nested at most {MAX_DEPTH} deep. {_USAGE}")
    inputs = {"arch": data["inputs"]} if isinstance(data.get("inputs"), str) else data.get("inputs")
    if not isinstance(inputs, dict) or len(inputs) != 1 or not set(inputs) <= set(_INPUTS):
        raise OptionError(f"No network is named. {_USAGE}")
    given = {} if data.get("parameters") is None else data["parameters"]
    if not isinstance(given, dict) or not set(given) <= set(_PARAMETERS):
        raise OptionError(f"Unknown parameters. Allowed: {', '.join(_PARAMETERS)}")
    return inputs, given


def _target(given: dict[str, Any]) -> tuple[str | None, str]:
    """Return the repository to push to, if there is one, and the caller's token."""
    push, token = given.get("push"), given.get("token")
    if push is None:
        return None, ""
    if not is_repository(push) or not isinstance(token, str):
        raise OptionError(_PUSH)
    if not TOKEN.fullmatch(token):
        raise OptionError(_PUSH)
    return push, token


def _prediction(inputs: dict[str, Any], given: dict[str, Any]) -> Prediction:
    init, seed, dtype = given.get("init", "auto"), given.get("seed", 0), given.get("dtype")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise OptionError(f"The seed is {_shown(seed)}; allowed are 0 to 2**63 - 1.")
    if dtype is not None and (not isinstance(dtype, str) or dtype not in DTYPES):
        raise OptionError(f"Unknown dtype {_shown(dtype)}. Known: {', '.join(DTYPES)}")
    if not isinstance(init, str) or len(init) > MAX_REQUEST_TEXT:
        raise OptionError(f"The initializer is {_shown(init)}; it must be a name, as in he or auto.")
    if split_chain(init)[0].partition("?")[0] == "diffusion":
        raise OptionError("Weights from a prompt are not served here. Type: paramgen predict --prompt WORDS")
    from paramgen.hypernets.storage import shipped_hypernets  # which loads the Hub's library

    initializer = initializer_of(checked_init(init, shipped_hypernets()))
    memory = machine_memory()
    limits = Limits(memory=None if memory is None else memory // 2)
    arch = inputs.get("arch")
    architecture, graph = _named(arch, limits) if "arch" in inputs else graph_within(inputs["graph"], limits)
    requested = Requested(arch=arch)
    found = prediction_of(architecture, graph, initializer, init=init, seed=seed, dtype=dtype, requested=requested)
    peak_within(found, limits)
    return found


def _shown(value: object) -> str:
    """Return a value as one short line; of a container only its type, as it may be large."""
    plain = isinstance(value, (str, int, float)) and not (isinstance(value, int) and value.bit_length() > 1000)
    return one_line(repr(value)) if plain else f"a {type(value).__name__}"


def _named(arch: Any, limits: Limits) -> tuple[Architecture, Graph]:
    """Build a network by its name in a library, or by an alias."""
    from paramgen.registry.aliases import ALIASES

    if not isinstance(arch, str) or len(arch) > MAX_REQUEST_TEXT:
        raise OptionError(f"{_shown(arch)} is no name. {_USAGE}")
    name, overrides = checked_arch(arch, {})
    source, colon, _ = ALIASES.get(name, name).partition(":")
    if colon:
        _refuse_old(source, name)
    try:
        return network_within(name, overrides, limits)
    except ArchitectureError as error:  # maybe of an unknown version
        raise ArchitectureError(f"{one_line(error)} {_ADVICE}") from error


_PUSH: Final = 'To push, send both in "parameters": "push": "OWNER/NAME", "token": your own.'
_ADVICE: Final = "Send its graph instead, which needs no library: paramgen graph --arch NAME --out g.json"


def _refuse_old(source: str, arch: str) -> None:
    try:
        found = version(source)
    except PackageNotFoundError as error:
        raise OptionError(f"{source} is not installed here, so there is no {arch!r}. {_ADVICE}") from error
    least = _NEWEST.get(source, 0)
    if int(found.partition(".")[0]) < least:
        raise OptionError(f"{arch!r} needs {source} {least} or newer; here is {found}. {_ADVICE}")


def _refuse_large(plan: FolderPlan, most: int) -> None:
    """Refuse weights that are too large, before anything is computed."""
    nbytes = sum(plan.weights.sizes.values())
    if nbytes > most:
        raise OptionError(
            f"The weights have {nbytes:,} bytes; allowed are {most:,}. Send a smaller dtype, or have them pushed: "
            '"parameters": {"push": "OWNER/NAME", "token": your own}'
        )


def _summary(prediction: Prediction) -> dict[str, Any]:
    return {
        "spec": prediction.architecture.spec,
        "init": prediction.init,
        "resolved": prediction.resolved_init,
        "explanation": prediction.explanation,
        "seed": prediction.seed,
        "parameters": prediction.architecture.manifest.parameters,
        "by_rule": prediction.by_rule,
    }


def _inline(folder: Path) -> dict[str, Any]:
    """Return the folder's weights in base64, and its JSON files."""
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
    """Push with the caller's own token, which is not stored."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        url = api.create_repo(repo, private=True, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Initial weights by paramgen")
    except Exception as error:  # its type depends on the version; the token must not be in the message
        reason = one_line(f"{type(error).__name__}: {error}").replace(token, "...")
        raise OutputError(f"Pushing to {repo!r} failed: {reason} Check the name, and the token's rights.") from None
    return {"pushed": str(url), "commit": done.oid}
