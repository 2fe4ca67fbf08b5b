"""`paramgen donors`: which published models an architecture may inherit from."""

from paramgen.cli.options import (
    Arch,
    ExampleInput,
    Json,
    LicenseAllow,
    Overrides,
    parsed_example,
    parsed_overrides,
)


def donors(
    *,
    arch: Arch,
    overrides: Overrides = None,
    example_input: ExampleInput = None,
    license_allow: LicenseAllow = None,
    as_json: Json = False,
) -> None:
    """List the published models that an architecture may inherit from, the nearest first.

    Nothing is downloaded. The number is the distance: 1 for a factor of two in width, less for one in depth, in
    patches and in the input. Those whose licence allows any use are listed, or those of the licences named.

    [dim]paramgen donors --arch timm:resnet18
    paramgen donors --arch my_model.py:build --example-input 2x3x32x32 --json[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=False)
    with reporter.stage("Building and tracing"):
        from paramgen import api

        found = api.donors(
            arch,
            overrides=parsed_overrides(overrides),
            example_input=parsed_example(example_input),
            license_allow=license_allow or (),
        )
    if as_json:
        reporter.record(found.to_json())
    else:
        reporter.names("donors", {each.model.repo: str(each) for each in found} or {found.reason: ""})
