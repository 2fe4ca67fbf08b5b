"""The command as a user meets it: real processes, exit codes, streams and folders."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import load_file

if TYPE_CHECKING:
    from conftest import Command

COMMANDS = ("predict", "graph", "list", "check", "info", "compare", "diagnose", "push", "restore")
SLOW_DISK = """
import os, time
from paramgen.storage import writer
pwrite = os.pwrite
def slow(*arguments):
    open("begun", "w").close()
    time.sleep(0.02)
    return pwrite(*arguments)
writer.os.pwrite = slow
"""
STUCK_DISK = """
import threading
from paramgen.cli import app as cli
from paramgen.storage import writer
interrupted, interrupt, pwrite = threading.Event(), cli._interrupt, writer.os.pwrite
def told(*arguments):
    interrupted.set()
    interrupt(*arguments)
def stuck(*arguments):
    open("begun", "w").close()
    any(interrupted.wait(0.1) for _ in range(1000))
    return pwrite(*arguments)
cli._interrupt, writer.os.pwrite = told, stuck
"""
NOISE = """
import logging, warnings
from paramgen.architectures import sources
module = sources.get("module")
load = module.load
def noisy(self, folder, device):
    warnings.warn("from a library", FutureWarning)
    logging.getLogger("transformers").error("from a library")
    return load(self, folder, device)
module.load = noisy
"""
FILES = ["README.md", "config.json", "model.safetensors", "paramgen.json"]


@pytest.fixture
def predict(command: "Command", own: Path, hypernet_folder: Path) -> "Command":
    """Predict the network in the test's own file, with the small hypernet where the test says nothing else."""

    def run(*arguments: object, **options: object) -> object:
        words = [str(word) for word in arguments]
        for option, value in (("--arch", "own.py:build"), ("--init", f"hypernet:{hypernet_folder}"), ("--out", "out")):
            if option not in words:
                words += [option, value]
        return command("predict", *words, **options)

    return run


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=["paramgen", *COMMANDS])
def test_help_teaches(arguments: list[str]) -> None:
    """That it is quick is `tests/test_public_api.py`'s: it loads nothing that is slow to load."""
    command = [sys.executable, "-m", "paramgen", *arguments, "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.count(f"paramgen {arguments[0] if arguments else 'predict'} ") >= (2 if arguments else 1)


def test_predict_says_where_what_and_how_to_load(predict: "Command", tmp_path: Path) -> None:
    done = predict("--set", "width=12")
    assert done.status == 0 and not done.err
    first, *rules, loaded, one, two = done.out.splitlines()
    assert first.startswith("out: own.py:build, 490 parameters, ") and "parameters/s" in first
    assert [rule.split() for rule in rules][0][1:3] == ["by", "hypernet"]
    assert "running_mean" in rules[1] and "by library" in rules[1]
    assert loaded == "  module loaded it: nothing missing, unexpected or changed"
    assert sorted(os.listdir(tmp_path / "out")) == FILES
    assert sorted(os.listdir(tmp_path)) == ["out", "own.py"]
    assert one.startswith("  >>> ") and two.startswith("  >>> ")


@pytest.mark.parametrize("out", ["out", "deep/er/out", 'it\'s "odd" ü'])
def test_the_two_lines_load_it(predict: "Command", command: "Command", tmp_path: Path, out: str) -> None:
    lines = predict("--out", out).out.splitlines()[-2:]
    code = "\n".join(line.removeprefix("  >>> ") for line in lines)
    done = command("--version", code=f"{code}\nprint(model.head.weight.flatten().tolist())")
    assert (
        json.loads(done.out.splitlines()[0])
        == load_file(tmp_path / out / "model.safetensors")["head.weight"].flatten().tolist()
    )


ZOOS = [
    "transformers:vit?hidden_size=48&num_hidden_layers=1&num_attention_heads=2&intermediate_size=48",
    "transformers:gpt2?n_embd=48&n_layer=2&n_head=2&vocab_size=999",
    "timm:mobilenetv3_small_050",
    "torchvision:shufflenet_v2_x0_5",
    "diffusers:AutoencoderKL",
]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ZOOS, ids=[arch.partition("?")[0] for arch in ZOOS])
def test_the_two_lines_load_every_librarys_folder(command: "Command", arch: str, tmp_path: Path) -> None:
    done = command("predict", "--arch", arch, "--max-shard", "100KB", "--init", "library", "--out", "to/out")
    assert done.status == 0 and not done.err, done
    code = "\n".join(line.removeprefix("  >>> ") for line in done.out.splitlines()[-2:])
    # Where torch is a CPU build, `make setup` installs the same for every interpreter.
    healed = "from paramgen._optional.torchvision import ensure_torchvision as heal\nheal()"
    again = command("--version", code=f"{healed}\n{code}\nprint(sorted(model.state_dict())[0])")
    assert again.status == 0 and len(again.out.splitlines()) == 2, again
    assert command("check", "to/out").status == 0


def test_json_alone_on_stdout(predict: "Command") -> None:
    done = predict("--json")
    assert done.status == 0 and not done.err
    record = json.loads(done.out)
    assert record["folder"] == "out" and record["checked"] is True and record["loaded_by"] == "module"
    assert record["init"].startswith("hypernet:") and record["seed"] == 0
    assert sorted(record["files"]) == FILES
    refused = predict("--json")
    assert "not empty" in refused.refusal


def test_dry_run_plans_and_writes_nothing(predict: "Command", tmp_path: Path) -> None:
    done = predict("--dry-run", "--json")
    assert done.status == 0 and not done.err
    record = json.loads(done.out)
    assert {"spec", "parameters", "elements", "by_rule", "traced_by", "nodes", "files"} <= set(record)
    assert sum(record["by_rule"].values()) == record["elements"] == 347
    assert record["by_rule"]["hypernet"] > 300 and record["by_rule"]["library"] > 0
    assert record["parameters"] == 330 and record["spec"] == "own.py:build"
    assert os.listdir(tmp_path) == ["own.py"]
    predicted = json.loads(predict("--json").out)
    assert {key: predicted[key] for key in record if key != "files"} == {
        key: value for key, value in record.items() if key != "files"
    }
    assert {**predicted["files"], **record["files"]} == predicted["files"]
    assert ["elements", "347"] in [line.split() for line in predict("--dry-run").out.splitlines()]
    refused = predict("--dry-run", "--public")
    assert refused.status == 2 and "need --push. Type: --push OWNER/NAME" in refused.err


def test_quiet_prints_nothing(predict: "Command", command: "Command") -> None:
    assert predict("--quiet") == predict("-q", "--overwrite")
    done = predict("--quiet", "--overwrite", terminal=True)
    assert (done.status, done.out, done.err) == (0, "", "")
    assert command("check", "out", "-q", terminal=True).out == ""


def test_a_terminal_sees_progress_and_colours(predict: "Command") -> None:
    done = predict(terminal=True, TERM="xterm")
    assert done.status == 0
    assert "Predicting" in done.out and "Loading with the library" in done.out and "\x1b[1m" in done.out
    assert "\x1b[3" in done.out
    plain = predict("--overwrite", terminal=True, TERM="xterm", NO_COLOR="1")
    assert "\x1b[3" not in plain.out and "Predicting" in plain.out


def test_libraries_and_own_files_do_not_disturb_the_streams(predict: "Command", own: Path) -> None:
    own.write_text(own.read_text() + "\nprint('mine')\nimport warnings\nwarnings.warn('mine too')\n")
    done = predict("--json", code=NOISE)
    assert json.loads(done.out)["checked"]
    assert set(done.err.splitlines()) == {"mine"}


def test_an_ascii_terminal_is_enough(command: "Command", predict: "Command") -> None:
    done = predict(
        code="import sys\nsys.stdout.reconfigure(encoding='ascii')\nsys.stderr.reconfigure(encoding='ascii')"
    )
    assert done.status == 0 and not done.err


USAGE = [
    (["--arch", "own.py:build", "--sede", "3"], "--seed"),
    (["--arch", "own.py:build", "--seed", "x"], "integer"),
]


@pytest.mark.parametrize(("arguments", "said"), USAGE)
def test_usage_errors(command: "Command", arguments: list[str], said: str) -> None:
    done = command("predict", *arguments)
    assert done.status == 2 and not done.out
    assert said in done.err and "Usage: paramgen predict" in done.err and "Traceback" not in done.err
    assert command("predcit").status == 2


def test_no_architecture_is_one_line(command: "Command") -> None:
    done = command("predict")
    assert done.status == 2 and not done.out and "Type: --arch vit_b16" in done.err and done.err.count("\n") == 1


OWN = """
import sys
from torch import nn

def three():
    return 3

def leaves():
    sys.exit(0)

def raises():
    raise ValueError("first line\\nsecond line")

class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(5, 5))

    def forward(self, images):
        return self.body(images)
"""
REFUSED = [
    (["--arch", "other.py:three"], ["three", "int"]),
    (["--arch", "other.py:leaves"], ["leaves", "SystemExit"]),
    (["--arch", "other.py:raises"], ["ValueError: first line"]),
    (["--arch", "other.py:Deep", "--strict"], ["'body.1' (Linear)"]),
    (["--arch", "other.py:depp"], ["depp", "Deep"]),
    (["--arch", "nowhere.py:build"], ["no file 'nowhere.py'"]),
    (["--arch", "broken.py:build"], ["broken.py does not import: SyntaxError"]),
    (["--arch", "lost.py:build"], ["No module named 'lost_thing'"]),
    (["--arch", "exits.py:build"], ["exits.py", "SystemExit"]),
    (["--arch", "tim:resnet18"], ["'tim'", "'timm'", "paramgen list sources"]),
    (["--arch", "nowhere.json"], ["nowhere.json"]),
    (["--init", "hypernte"], ["'hypernte'", "'hypernet'", "paramgen list initializers"]),
    (["--init", "library:x"], ["takes no argument"]),
    (["--init", "hypernet:./nowhere"], ["No hypernet './nowhere': there is no such folder or file.", "Type: --init"]),
    (["--init", "hypernet:org/repo"], ["No hypernet 'org/repo'", "HF_HUB_OFFLINE forbids", "Type: --init"]),
    (["--init", "hypernet:org/repo@"], ["empty revision"]),
    (["--dtype", "float64"], ["'float64'", "float32, bfloat16, float16"]),
    (["--seed", "-1"], ["-1", "--seed 0"]),
    (["--seed", str(2**63)], ["2**63 - 1"]),
    (["--max-shard", "5 potatoes"], ["'5 potatoes'", "5GB"]),
    (["--set", "width"], ["key=value"]),
    (["--set", "widht=3"], ["'widht'", "width"]),
    (["--set", "width=-1"], ["Cannot build own.py:build", "--set"]),
    (["--example-input", "2x4x9x9", "--strict"], ["'conv' (Conv2d)"]),
    (["--example-input", "2x4x9x9"], ["example input does not fit", "'conv' (Conv2d)", "--example-input 2x3x32x32"]),
    (["--example-input", "2x3x9x9 2x3x9x9"], ["example input does not fit", "TypeError"]),
    (["--example-input", "2xx3"], ["'2xx3' is no shape"]),
    (["--out", "own.py"], ["is a file"]),
    (["--out", "own.py/out"], ["Cannot write"]),
    (["--out", "/proc/out"], ["Cannot write '/proc/out'"]),
    (["--out", "."], ["Type a new folder inside it"]),
    (["--out", "full"], ["not empty", "--overwrite"]),
    (["--out", "full", "--overwrite"], ["not written by paramgen"]),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_bad_input_is_one_line(predict: "Command", tmp_path: Path, arguments: list[str], said: list[str]) -> None:
    for name, text in {
        "other.py": OWN,
        "broken.py": "def build(:",
        "lost.py": "import lost_thing",
        "exits.py": "raise SystemExit(0)",
        "full/precious": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    message = predict(*arguments, *(() if "--init" in arguments else ("--init", "library")), "--json").refusal
    assert all(word in message for word in said), message
    assert len(message) < 500 and "Traceback" not in message
    assert sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts) == before


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["vit_b17", "resnet5O", "timm:vit_tiny_patch16_225", "transformers:lama"])
def test_unknown_networks_offer_the_nearest(command: "Command", arch: str) -> None:
    message = command("predict", "--arch", arch).refusal
    assert repr(arch.rpartition(":")[2]) in message
    assert "Did you mean" in message and "Type: paramgen list architectures" in message


OTHERS = [
    "list fruit",
    "list initializers timm",
    "list architectures tim",
    "check nowhere",
    "check .",
    "check . --memory x",
    "graph --arch own.py:build --out g.png",
    "graph --arch own.py:build --out own.py",
]


@pytest.mark.parametrize("line", OTHERS)
def test_other_commands_refuse_in_one_line(command: "Command", own: Path, line: str) -> None:
    assert len(command(*line.split()).refusal) < 400
    assert os.listdir(own.parent) == ["own.py"]


def test_a_graph_stands_for_its_architecture(predict: "Command", command: "Command", tmp_path: Path) -> None:
    assert command("graph", "--arch", "own.py:build", "--out", "g.json", "--quiet").status == 0
    assert "exists" in command("graph", "--arch", "own.py:build", "--out", "g.json").refusal
    assert predict().status == predict("--arch", "g.json", "--out", "again").status == 0
    assert (tmp_path / "out" / FILES[1]).read_bytes() == (tmp_path / "again" / FILES[1]).read_bytes()


def test_the_same_command_gives_the_same_bytes(predict: "Command", tmp_path: Path, hypernet_folder: Path) -> None:
    for init in (f"hypernet:{hypernet_folder}", "library"):
        for out, more in (("one", ()), ("two", ()), ("other", ("--seed", "1")), ("cut", ("--max-shard", "500B"))):
            assert predict("--init", init, "--out", out, "--overwrite", *more).status == 0
        one, two, other = (  # but for the card, which says the folder's name
            {name: (tmp_path / out / name).read_bytes() for name in FILES[1:]} for out in ("one", "two", "other")
        )
        assert one == two
        assert one["model.safetensors"] != other["model.safetensors"]
        whole = load_file(tmp_path / "one" / "model.safetensors")
        shards = sorted((tmp_path / "cut").glob("model-*.safetensors"))
        assert len(shards) > 1 and (tmp_path / "cut" / "model.safetensors.index.json").is_file()
        parts = {name: tensor for shard in shards for name, tensor in load_file(shard).items()}
        assert parts.keys() == whole.keys() and all(parts[name].equal(whole[name]) for name in whole)


def test_the_report_has_everything(predict: "Command", tmp_path: Path, hypernet_folder: Path) -> None:
    from hashlib import sha256
    from importlib.metadata import version

    assert predict("--dtype", "bfloat16", "--seed", "5").status == 0
    report = json.loads((tmp_path / "out" / "paramgen.json").read_text())
    weights = (hypernet_folder / "model.safetensors").read_bytes()
    assert report["paramgen"] == version("paramgen")
    assert report["spec"] == "own.py:build" and report["seed"] == 5 and report["dtype"] == "bfloat16"
    assert report["init"] == f"hypernet:{hypernet_folder}"
    assert report["initializer"]["sha256"] == sha256(weights).hexdigest()
    assert len(report["graph"]["sha256"]) == 64
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert report["tensors"].keys() == tensors.keys()
    for name, tensor in tensors.items():
        entry = report["tensors"][name]
        assert entry["shape"] == list(tensor.shape) and f"torch.{entry['dtype']}" == str(tensor.dtype)
        assert entry["rule"] in ("hypernet", "library")
        assert entry["mean"] == pytest.approx(float(tensor.double().mean()), abs=1e-5)
        assert entry["std"] == pytest.approx(float(tensor.double().std(correction=0)), abs=1e-5)
    assert {entry["dtype"] for entry in report["tensors"].values()} == {"bfloat16", "int64"}


def test_a_full_disk_leaves_nothing(predict: "Command", tmp_path: Path) -> None:
    message = predict("--set", "width=400", "--out", "a/b/out", limit=20_000).refusal
    assert "File too large" in message and "Needed are" in message
    assert os.listdir(tmp_path) == ["own.py"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(predict: "Command", tmp_path: Path, number: int, status: int) -> None:
    done = predict("--out", "a/out", code=STUCK_DISK, signal=number, when=tmp_path / "begun")
    assert (done.status, done.out) == (status, "")
    assert done.err == "Interrupted; nothing half-written is left.\n"
    assert sorted(os.listdir(tmp_path)) == ["begun", "own.py"]


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment(predict: "Command", command: "Command", tmp_path: Path, times: int) -> None:
    (tmp_path / "a").mkdir()
    folder = tmp_path / "a" / "out"
    for attempt in range(times):
        (tmp_path / "begun").unlink(missing_ok=True)
        done = predict("--out", "a/out", "--overwrite", "--seed", str(attempt), code=SLOW_DISK, signal=signal.SIGKILL,
                       when=tmp_path / "begun", after=0.3 * (attempt + 0.5) / times)  # fmt: skip
        assert done.status in (0, -signal.SIGKILL)
        if folder.exists():
            assert command("check", "a/out").status == 0
        assert len(os.listdir(tmp_path / "a")) <= 2  # of this attempt; what earlier ones left is gone
    assert predict("--out", "a/out", "--overwrite").status == 0
    assert os.listdir(tmp_path / "a") == ["out"] and command("check", "a/out").status == 0


def test_lists_and_descriptions(command: "Command", predict: "Command", hypernet_folder: Path) -> None:
    assert set(json.loads(command("list", "initializers", "--json").out)) >= {"hypernet", "library"}
    assert json.loads(command("list", "--json").out)["vit_b16"].startswith("transformers:vit")
    assert any(line.split() == ["resnet50", "torchvision:resnet50"] for line in command("list").out.splitlines())
    assert json.loads(command("info", hypernet_folder, "--json").out)["config"]["vocabulary"] == "native"
    assert predict().status == 0
    described = json.loads(command("info", "out", "--json").out)
    assert described["spec"] == "own.py:build" and "tensors" not in described
    assert json.loads(command("info", "own.py:build", "--json").out)["parameters"] == 330


def test_a_closed_pipe_ends_quietly(command: "Command") -> None:
    pipe = "import os\nreader, writer = os.pipe()\nos.dup2(writer, 1)\nos.close(reader)"
    done = command("list", code=pipe)
    assert (done.status, done.err) == (1, "")
