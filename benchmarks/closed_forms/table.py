"""The figures of closed forms as rows of the page `docs/closed-forms.md`, made of the results alone."""

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]


def rows(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one row for each experiment that was run: what was asked, with the closed form, and with others."""
    makers = {
        "lowrank": _lowrank,
        "blocks": _blocks,
        "shift": _shift,
        "cai": _cai,
        "maxout": lambda each: _against(each, "maxout", ("he",), "second moment after 30 layers over that after one"),
        "ibp": lambda each: _against(
            each, "ibp", ("he", "xavier"), "growth of the mean radius of bounds in each of 7 layers", "growth_per_layer"
        ),
        "topology": lambda each: _against(
            each, "topology", ("he",), "largest mean square of 5 nodes over the smallest", "largest_over_smallest"
        ),
        "eoc": _edge_of_chaos,
        "s4d": _state_spaces,
        "virgo": _graphs,
        "rezero": _rezero,
        "orthogonal": _orthogonal,
        "eoc trained": _edge_of_chaos_trained,
        "rescale_": _rescaling,
        "mup": _learning_rates,
    }
    return [
        f"| {' | '.join((f'`{name}`', *makers[name](found[name]['figures'])))} |" for name in makers if name in found
    ]


def _said(spread: Mapping[str, float]) -> str:
    return f"{spread['mean']:.3g} ± {spread['std']:.1g}"


def _list(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _against(each: Figures, own: str, others: tuple[str, ...], what: str, key: str = "") -> tuple[str, str, str]:
    def figure(init: str) -> str:
        return _said(each[init][key] if key else each[init])

    return what, figure(own), ", ".join(f"`{init}` {figure(init)}" for init in others)


def _lowrank(each: Figures) -> tuple[str, str, str]:
    moments = each["second_moment_layer_10_over_1"]
    what = (
        f"rank of {each['width']} by {each['width']}; norm over that before; "
        "second moment after 10 layers over that after one"
    )
    own = f"{_list(each['rank'])}; {_said(each['norm_over_norm_before'])}; {_said(moments['he|lowrank:0.1'])}"
    return what, own, f"`draw=true` {_said(moments['he|lowrank:0.1?draw=true'])}, `he` {_said(moments['he'])}"


def _blocks(each: Figures) -> tuple[str, str, str]:
    moments = each["second_moment_layer_10_over_1"]
    what = "share of entries that stay; variance over that before; second moment after 10 layers over that after one"
    own = (
        f"{_list(each['density'])}; {_said(each['variance_over_variance_before'])}; {_said(moments['he|blocks:0.25'])}"
    )
    return what, own, f"`he` {_said(moments['he'])}"


def _shift(each: Figures) -> tuple[str, str, str]:
    figures = [
        f"{bits} bits: {_list(each[f'{bits} bits']['values'])} and {_said(each[f'{bits} bits']['relative_error'])}"
        for bits in (2, 3, 4)
    ]
    return (
        "distinct values, and the norm of what the projection changes over that of the weight",
        "; ".join(figures),
        "",
    )


def _cai(each: Figures) -> tuple[str, str, str]:
    def figure(init: str) -> str:
        return f"{_said(each[init]['variance_times_fan_in'])} and {_list(each[init]['spatial_rank'])}"

    others = ", ".join(
        f"{what} {figure(init)}"
        for what, init in (("`noise=0`", "cai?noise=0"), ("hermitian, `noise=0`", "cai?noise=0&spectrum=hermitian"))
    )
    return "variance times fan-in, and how many of the 9 dimensions of 3 by 3 filters are there", figure("cai"), others


def _edge_of_chaos(each: Figures) -> tuple[str, str, str]:
    def figure(init: str) -> str:
        return " and ".join(_said(each[f"depth {depth}"][init]["log_of_difference_kept"]) for depth in (50, 100))

    what = "logarithm of the difference of two inputs after 50 and 100 layers of tanh over that after 10: 0 is kept"
    others = (
        ("`bias=0.2`", "eoc?bias=0.2"),
        ("variance 1/n", "xavier?distribution=normal"),
        ("variance 6.25/n", "he|scale:2.5"),
    )
    return what, figure("eoc"), ", ".join(f"{name} {figure(init)}" for name, init in others)


def _state_spaces(each: Figures) -> tuple[str, str, str]:
    def figure(kind: str) -> str:
        return ", ".join(f"{size}: {_said(each[size][kind]['sup_error'])}" for size in each)

    what = "largest error of the transfer function, as a share of HiPPO-LegS's largest value"
    return what, f"`ptd` {figure('ptd')}", f"`legs` {figure('legs')}"


def _graphs(each: Figures) -> tuple[str, str, str]:
    names = [name for name in each if isinstance(each[name], Mapping)]

    def figure(init: str) -> str:
        return ", ".join(f"{name} {_said(each[name][init]['spread_of_log_variance'])}" for name in names)

    return (
        "spread of the logarithm of the variance over 8 graph convolutions",
        figure("virgo"),
        f"`xavier` {figure('xavier')}",
    )


def _learned(each: Figures, init: str) -> str:
    return f"{_said(each[init]['test_accuracy'])} at {each[init]['learning_rate']:g}"


def _rezero(each: Figures) -> tuple[str, str, str]:
    what = f"test accuracy on digits after {each['steps']} steps of 64 blocks x + gate F(x), each at its best rate"
    return what, _learned(each, "rezero:he"), f"`he`, gates of 1, {_learned(each, 'he')}"


def _orthogonal(each: Figures) -> tuple[str, str, str]:
    what = f"test accuracy on digits after {each['steps']} steps of 50 layers of tanh, each at its best rate"
    scaled = "orthogonal|scale:1.6667"
    return what, _learned(each, "orthogonal"), f"at the gain 5/3 {_learned(each, scaled)}"


def _edge_of_chaos_trained(each: Figures) -> tuple[str, str, str]:
    def figure(init: str) -> str:
        return " and ".join(_learned(each[f"depth {depth}"], init) for depth in (50, 100))

    what = (
        f"test accuracy on digits after {each['depth 50']['steps']} steps of 50 and of 100 layers of tanh, each at its "
        "best rate"
    )
    others = (("variance 1/n", "xavier?distribution=normal"), ("variance 6.25/n", "he|scale:2.5"))
    return what, figure("eoc"), ", ".join(f"{name} {figure(init)}" for name, init in others)


def _rescaling(each: Figures) -> tuple[str, str, str]:
    def figure(name: str) -> str:
        return f"{_said(each[name]['perplexity'])}; {_said(each[name]['largest_activation'])}"

    what = (
        f"perplexity of bytes and largest activation after {each['steps']} steps of a GPT-2 of {each['parameters']:,} "
        f"parameters, rescaled every {each['every']}"
    )
    return what, figure("rescaled"), f"not rescaled {figure('not rescaled')}"


def _learning_rates(each: Figures) -> tuple[str, str, str]:
    def figure(init: str) -> str:
        return ", ".join(f"{each[init][f'width {width}']['learning_rate']:g}" for width in each["widths"])

    widths = ", ".join(map(str, each["widths"]))
    what = f"best learning rate of a grid by factors of 2 for a GPT-2 of width {widths}, {each['seeds']} seed"
    return what, f"`--lr mup` {figure('mup?base=64')}", f"one for all weights {figure('scaled')}"
