"""Names are read off the libraries' files: the same ones that the libraries list, and without importing any."""

import subprocess
import sys
from pathlib import Path

import pytest

import paramgen
from paramgen import prediction
from paramgen.architectures import resolve, sources
from paramgen.errors import OptionError, UnknownNameError
from paramgen.registry.library_names import names_in

LIBRARIES = ("diffusers", "timm", "torchvision", "transformers")


@pytest.mark.parametrize("library", LIBRARIES)
def test_they_are_those_that_the_library_lists(library: str) -> None:
    listed = set(sources.get(library)().names())
    assert not listed & {"AutoModel", "EMAModel", "OnnxRuntimeModel"}  # which are no networks
    assert names_in(library) == listed


def test_an_absent_library_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("paramgen.registry.library_names.find_spec", lambda name: None)
    assert names_in("timm") == names_in("module") == names_in("nosuch") == frozenset()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("resnett50", "Did you mean 'resnet50'"),
        ("resnet10t", "Did you mean 'timm:resnet10t'?"),
        ("fcos_resnet50_fpn", "Did you mean 'torchvision:fcos_resnet50_fpn'?"),
        ("gpt2?n_layer=1&x=y", None),
        ("gpt3?n_layer=1", "Did you mean 'gpt2'"),
        ("timm", "names a source but no network"),
        ("", "Unknown architecture ''"),
    ],
)
def test_a_mistyped_name_asks_no_library(typed: str, message: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("a library or an initializer was loaded")

    for library in LIBRARIES:
        monkeypatch.setattr(sources.get(library), "names", asked)
    monkeypatch.setattr(prediction, "initializer_of", asked)
    if message is None:
        with pytest.raises(AssertionError):  # an alias goes on
            paramgen.predict(typed)
        return
    with pytest.raises((UnknownNameError, OptionError), match=message.replace("?", r"\?")):
        paramgen.predict(typed)
    with pytest.raises((UnknownNameError, OptionError), match=message.replace("?", r"\?")):
        resolve(typed)


def test_the_command_imports_none_either() -> None:
    program = f"""
import sys
import paramgen
from paramgen.errors import UnknownNameError

for call in (
    lambda: paramgen.predict('resnett50'),
    lambda: paramgen.compare(['vit_b16', 'resnett50'], 'photos'),
    lambda: paramgen.compare('vit_b16', 'photos', init=['library', 'hee']),
    lambda: paramgen.diagnose('vit_b16', what='signal,gradint'),
    lambda: paramgen.prepare('gpt2', 'warm', how='warmpu?task=shapes'),
):
    try:
        call()
    except UnknownNameError:
        continue
    raise SystemExit('no error')
assert 'warmup' in paramgen.api.names('preparations')
assert 'vision' in paramgen.api.names('hypernets')
print(*sorted({{'torch', *{LIBRARIES}}}.intersection(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "", done.stderr
