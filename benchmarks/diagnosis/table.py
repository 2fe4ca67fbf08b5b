"""The figures of measures that train as rows of the page `docs/how-to/diagnose.md`, made of the results alone."""

from collections.abc import Mapping
from typing import Any, Final

Figures = Mapping[str, Any]
DOMAINS: Final = ("vision", "text")
_MEASURES: Final = {"small_attention": "rank"}  # of an experiment that is called otherwise


def rows(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one row for each experiment that was run: what was measured, and what was found."""
    makers = {
        "rate": _rate,
        "jacobian": _jacobian,
        "barrier": _barrier,
        "rank": _rank,
        "small_attention": _small_attention,
        "alignment": _alignment,
        "relative": _relative,
        "bias": _bias,
    }
    return [
        f"| {' | '.join((f'`{_MEASURES.get(name, name)}`', *makers[name](found[name]['figures'])))} |"
        for name in makers
        if name in found
    ]


def _said(spread: Mapping[str, float]) -> str:
    return f"{spread['mean']:.3g} ± {spread['std']:.1g}"


def _rate(each: Figures) -> tuple[str, str]:
    rates = each["rates"]
    largest, smallest = max(rates, key=rates.get), min(rates, key=rates.get)
    what = "log of the largest rate over log of depth times width, 9 perceptrons whose input layer has a tenth of it"
    ends = f"{rates[largest]:g} at {largest}, {rates[smallest]:g} at {smallest}"
    fit = f"slope {_said(each['slope'])}, R2 {_said(each['r2'])}"
    apart = f"exponents of depth {_said(each['apart']['depth'])}, of width {_said(each['apart']['width'])}"
    both = f"{apart}, R2 {_said(each['apart']['r2'])}"
    return what, f"{fit}; {both}; {ends}; times curvature {_range(each['rate_times_curvature'])}"


def _range(each: Figures) -> str:
    return f"{each['smallest']:.3g} to {each['largest']:.3g}"


def _jacobian(each: Figures) -> tuple[str, str]:
    what = f"{each['parameters']:,} parameters, {each['epochs']} epochs: share that stays, cosine there, elsewhere"
    return what, f"{_said(each['unchanged'])}; {_said(each['cosine'])}; {_said(each['elsewhere'])}"


def _barrier(each: Figures) -> tuple[str, str]:
    heights = "; ".join(f"{100 * float(share):g} %: {_said(height)}" for share, height in each["nats"].items())
    what = f"barrier in nats by when runs part, a small ResNet, {each['steps']} steps, 30 % of the labels random"
    return what, heights


def _rank(each: Figures) -> tuple[str, str]:
    last = each["steps"][-1]
    small, usual = (each[init]["stable_rank"] for init in ("library|scale:0.01", "library"))
    what = f"stable rank of what the heads of a small vision transformer have learnt after 1 and {last} steps"
    first, then = (f"{_said(ranks[0])} and {_said(ranks[-1])}" for ranks in (usual, small))
    return what, f"{first}; initial weights times 0.01: {then}"


def _small_attention(each: Figures) -> tuple[str, str]:
    ranks = each["stable_rank"]
    first, last = each["steps"][1], each["steps"][-1]
    what = f"the same with the weights of attention times 0.01, after {first} and {last} steps; times of 5 that it rose"
    return what, f"{_said(ranks[1])} and {_said(ranks[-1])}; {_said(each['rises'])}"


def _alignment(each: Figures) -> tuple[str, str]:
    what = "cosine of neurons and classes, and stable rank, by the scale of the initial weights, digits 0 and 1"
    return what, "; ".join(f"{scale}: {_said(one['after'])}, {_said(one['rank'])}" for scale, one in each.items())


def _relative(each: Figures) -> tuple[str, str]:
    what = (
        f"mean of 1 / rank between two small CNNs after {each['steps']} steps of Adam, relative, absolute, by guessing"
    )
    return what, "; ".join(_said(each[name]) for name in ("mrr", "absolute", "chance"))


def _bias(each: Figures) -> tuple[str, str]:
    what = "nats that are lacking, a perceptron, weights by he and four times as large; error on linear regressions"
    errors = "; ".join(f"{100 * one['mean']:.2g} % at {share} of their mean" for share, one in each["error"].items())
    return what, f"{'; '.join(_said(one['nats']) for one in each['digits'].values())}; {errors}"


def prediction_rows(result: Mapping[str, Any], examples: str = "data") -> list[str]:
    """Return a row for each figure: its rank correlation with how training ends, on images and on texts."""
    found = [result["correlations"][f"{domain}, {examples}"]["figures"] for domain in DOMAINS]
    names = [name for name in found[0] if name in found[1]]
    return [f"| `{name}` | {' | '.join(_interval(each[name]) for each in found)} |" for name in names]


def conclusion(result: Mapping[str, Any], examples: str = "data") -> list[str]:
    """Return what the page says of the figures that are clear of zero in both domains."""
    named = predicting(result, examples)
    if not named:
        return ["Clear of zero on the same side on images and on texts: none."]
    lines = [f"Clear of zero on the same side on images and on texts: {', '.join(f'`{name}`' for name in named)}."]
    for name in named:
        images, texts = (result["correlations"][f"{domain}, {examples}"] for domain in DOMAINS)
        simple = " and ".join(_interval(each["without_hypernet"][name]) for each in (images, texts))
        low, high = images["figures"][name]["all"]
        lines.append(
            f"Without the hypernet, `{name}` is at {simple}; with an interval that holds for all figures at once,"
        )
        lines.append(f"it is at {low:+.2f} to {high:+.2f} on images.")
    return lines


def predicting(result: Mapping[str, Any], examples: str = "data") -> list[str]:
    """Return the figures whose interval is clear of zero, on the same side, in every domain."""
    found = [result["correlations"][f"{domain}, {examples}"]["figures"] for domain in DOMAINS]
    shared = [name for name in found[0] if all(name in each for each in found)]
    return [
        name
        for name in shared
        if all(each[name]["low"] > 0 for each in found) or all(each[name]["high"] < 0 for each in found)
    ]


def _interval(each: Figures) -> str:
    return f"{each['mean']:+.2f} ({each['low']:+.2f} to {each['high']:+.2f})"
