"""The options of `paramgen.compare` and of the command line are the fields of the protocol, with its defaults."""

import inspect
from dataclasses import fields
from typing import get_type_hints

from paramgen.cli.compare import compare
from paramgen.comparison.options import ProtocolOptions
from paramgen.comparison.protocol import Protocol, parse_lr


def test_the_keywords_of_compare_are_the_fields_of_the_protocol() -> None:
    assert get_type_hints(ProtocolOptions) == get_type_hints(Protocol)
    assert ProtocolOptions.__optional_keys__ == {field.name for field in fields(Protocol)}


def test_the_command_line_has_the_defaults_of_the_protocol() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(compare).parameters.items()}
    assert parse_lr(defaults.pop("lr")) == (Protocol().learning_rates, Protocol().mup_base)
    options = {field.name for field in fields(Protocol)} & defaults.keys()
    assert options and all(defaults[name] == getattr(Protocol(), name) for name in options)
