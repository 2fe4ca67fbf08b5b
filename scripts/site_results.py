"""Tables and figures of the results page, from `cards/results/` alone."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from scripts.site_figures import PARTS, curve_panel, finals_figure, growth_figure, load_figure

ROOT: Final = Path(__file__).resolve().parents[1]
Result = Mapping[str, Any]


def result(argument: str) -> str:
    """Return what `<!-- results: KIND FILE [DATA] -->` stands for; of a result on several data sets, one."""
    kind, name, *data = argument.split()
    found: dict[str, Any] = json.loads((ROOT / f"{name}.json").read_text(encoding="utf-8"))
    if data:
        rows = [row for row in found["rows"] if row["data"] == data[0]]
        found |= {"rows": rows, "summary": found["summary"]["by_data"][data[0]]}
    makers = {
        "summary": summary,
        "texts": texts,
        "finals": finals,
        "curves": curves,
        "parts": parts,
        "milestones": milestones,
        "pairs": pairs,
        "reach": reach,
        "cost": cost,
        "growth": growth,
        "sequence": sequence,
        "parity": parity,
        "speed": speed,
        "training": training,
        "load": load,
        "memory": memory,
        "mixed": mixed,
    }
    return f"{makers[kind](found)}\n\n{provenance(name, found)}" if kind != "summary" else makers[kind](found)


def summary(found: Result) -> str:
    """Return what was measured, in a sentence."""
    figures = found["summary"]
    final = figures["final"]
    ratio = figures["median_steps_ratio"]
    steps = (
        f", with {ratio:.1f} times fewer steps (median) to where that one ends"
        if ratio
        else "; most do not get to where that one ends"
    )
    return (
        f"{figures['rows']} {'networks' if figures['rows'] > 1 else 'network'} that no training has seen, "
        f"{found['steps']} steps of {found['batch']} images, {found['seeds']} seeds, each initialization at the best "
        f"of {len(found['lr'])} learning rates. Mean accuracy at the end: "
        f"**{_percent(final['hypernet'])} %** from the hypernet, "
        f"{_percent(final['library'])} % from the default initialization; "
        f"{100 * figures['mean_lead']:+.1f} points from the best simple initialization of each network"
        f"{steps}. Wins or ties: "
        f"{100 * figures['wins_or_ties']:.0f} %."
    )


def texts(found: Result) -> str:
    """Return what was measured of language models, in a sentence and a table."""
    figures = found["summary"]
    lines = [
        f"{figures['rows']} rows, {found['steps']} steps of {found['batch']} windows, {found['seeds']} seeds. "
        f"Perplexity per byte at the end; in the median it is **{100 - 100 * figures['median_ratio']:.0f} %** lower "
        "from the hypernet than from the best simple initialization of each network.",
        "",
        "| text | network | parameters | default | best simple initialization | hypernet |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in found["rows"]:
        ends, simple = row["perplexity"], row["best_simple"]
        lines.append(
            f"| {row['data']} | `{row['network']}` | {row['parameters']:,} | {ends['library']:.2f} | "
            f"{ends[simple]:.2f} ({simple}) | {ends['hypernet']:.2f} |"
        )
    return "\n".join(lines)


def finals(found: Result) -> str:
    """Return a figure and a table of where each initialization ends."""
    rows = found["rows"]
    lines = ["| network | parameters | library | best simple initialization | hypernet |", "|---|--:|--:|--:|--:|"]
    lines += [
        f"| `{row['network']}` | {row['parameters']:,} | {_ended(row, 'library')} | "
        f"{_ended(row, row['best_simple'])} ({row['best_simple']}) | {_ended(row, 'hypernet')} |"
        for row in rows
    ]
    text = "Test accuracy at the end of training from three initializations, network by network."
    figure = f'<figure role="img" aria-label="{text}">{finals_figure(rows)}</figure>'
    return f"{figure}\n\n" + "\n".join(lines)


def parts(found: Result) -> str:
    """Return how much of the hypernet's lead over the default initialization is scale, values, and structure."""
    rows, ends = found["rows"], found["summary"]["final"]
    norms, values, whole = (
        100 * (ends[init] - ends["library"]) for init in ("matched:hypernet", "shuffled:hypernet", "hypernet")
    )
    said = (
        f"Of {whole:.1f} points over the default initialization (mean of {len(rows)} networks), the default draw at "
        f"the hypernet's norms has {norms:.1f} and the hypernet's values in random places have {values:.1f}; the rest "
        "is where which value stands."
    )
    return f'<figure role="img" aria-label="{said}">{finals_figure(rows, PARTS)}</figure>\n\n{said}'


def curves(found: Result) -> str:
    """Return a small figure per network: accuracy over the steps of training."""
    panels = "".join(f"<div>{curve_panel(row, number)}</div>" for number, row in enumerate(found["rows"]))
    legend = "".join(f'<span class="init-{name}">{text}</span>' for name, text in LEGEND.items())
    return f'<p class="legend">{legend}</p>\n<div class="panels">{panels}</div>'


def milestones(found: Result) -> str:
    """Return a table of what training from each milestone reaches."""
    steps = list(found["networks"][0]["trained"])
    lines = [
        f"| network | library | {' | '.join(f'{int(step):,}' for step in steps[1:])} |",
        "|---|" + "--:|" * len(steps),
    ]
    for row in found["networks"]:
        lines.append(f"| `{row['network']}` | {' | '.join(_percent(row['trained'][step]) for step in steps)} |")
    return "\n".join(lines)


LEGEND: Final = {"hypernet": "hypernet", "simple": "best simple initialization", "library": "default initialization"}


def pairs(found: Result) -> str:
    """Return how many pictures of two classes the networks from each initialization tell apart."""
    initializations = found["initializations"]
    steps = list(initializations["denoised"])
    heads = ["before training", *(f"after {step} steps" for step in steps[1:])]
    lines = [f"| initialization | {' | '.join(heads)} | learning rate |", "|---|" + "--:|" * (len(heads) + 1)]
    for name, own in initializations.items():
        cells = [f"{_percent(own[step]['accuracy'])} ± {_percent(own[step]['std'])}" for step in steps]
        lines.append(f"| {name} | {' | '.join(cells)} | {found['lr'][name]:g} |")
    wins = found["wins"][steps[-1]]
    count = len(found["pairs"])
    return "\n".join(
        (
            f"Accuracy in percent on {found['test_pictures']} pictures of each of {count} pairs that no training saw, "
            f"{found['seeds']} orders of the training pictures, each initialization at its best of three learning "
            "rates:",
            "",
            *lines,
            "",
            f"After {steps[-1]} steps denoised weights are better than random ones on {wins['random']} of {count} "
            f"pairs, than the zoo's base checkpoint on {wins['base checkpoint']}, than linear regression on the "
            f"prompts on {wins['linear']}. `linear` is the ridge regression of the zoo's weights on their prompts.",
        )
    )


def reach(found: Result) -> str:
    """Return which networks can be built and traced, and every exception in a fold of its source."""
    sources: Mapping[str, Result] = found["sources"]
    ways = list(dict.fromkeys(way for source in sources.values() for way in source["traced_by"]))
    heads = ["networks", "built", *(f"traced by {way}" for way in ways), "seconds: median, most", "memory"]
    lines = [
        f"| source | {' | '.join(heads)} |",
        "|---|--:|--:|" + "--:|" * (len(ways) + 2),
    ]
    for name, source in sources.items():
        counts = " | ".join(f"{source['traced_by'].get(way, 0):,}" for way in ways)
        lines.append(
            f"| {name} | {source['tried']:,} | {source['built']:,} | {counts} | {source['median_seconds']:.1f}, "
            f"{source['most_seconds']:.1f} | {source['peak_rss_bytes'] / 1e6:,.0f} MB |"
        )
    lines += [
        "",
        "What the module tree alone describes is filled all the same: its order of execution is unknown, and said so.",
        "",
    ]
    for name, source in sources.items():
        notes = [
            f"<li><code>{escape(spec)}</code>: {escape('; '.join(own))}</li>"
            for spec, own in source["exceptions"].items()
        ]
        if notes:
            lines.append(
                f"<details><summary>{name}: {len(notes)} exceptions</summary><ul>{''.join(notes)}</ul></details>"
            )
    return "\n".join(lines)


def cost(found: Result) -> str:
    """Return what a prediction takes, and what any use of the package begins with."""
    lines = [
        "| architecture | initializer | parameters | time | random tensors saved | ratio | memory | beyond imports |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| `{row['arch']}` | `{row['init']}` | {row['parameters']:,} | {row['wall_seconds']:.1f} s | "
        f"{row['limit_wall_seconds']:.1f} s | {row['wall_ratio']:.2f} | {row['peak_rss_bytes'] / 1e6:,.0f} MB | "
        f"{row['beyond_imports_bytes'] / 1e6:,.0f} MB |"
        for row in found["rows"]
    ]
    planned = [
        f"{row['name']} of {row['parameters'] / 1e9:.0f} billion parameters in {row['wall_seconds']:.0f} s and "
        f"{row['peak_rss_bytes'] / 1e6:,.0f} MB"
        for row in found["planned"]
    ]
    startup = found["startup_ms"]
    lines += [
        "",
        f"`--dry-run` builds, traces and plans {', '.join(planned)}. `import paramgen` takes "
        f"{startup['import paramgen']} ms and `paramgen --help` {startup['paramgen --help']} ms, Python itself "
        f"{startup['python']} ms.",
    ]
    return "\n".join(lines)


def growth(found: Result) -> str:
    """Return a figure of how the time of a graph grows with its nodes."""
    rows = found["networks"]
    text = (
        f"{len(rows)} networks of timm, of {rows[0]['nodes']:,} to {rows[-1]['nodes']:,} nodes: the CPU seconds of a "
        f"graph grow by the power {found['exponents']['trace_cpu_s']:.2f} of its nodes."
    )
    figure = f'<figure role="img" aria-label="{text}">{growth_figure(rows)}</figure>'
    return f"{text} The line grows as the nodes do.\n\n{figure}"


def sequence(found: Result) -> str:
    """Return what many networks take, one after the other, beside what was published of the reference."""
    lines = ["| initializer | networks | total | median | of it building and graph | writing | checking |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|")
    lines += [
        f"| `{init}` | {len(start['networks'])} | {start['total']:.0f} s | {start['median']:.2f} s | "
        f"{start['describe']:.0f} s | {start['write']:.0f} s | {start['check']:.0f} s |"
        for init, start in found["starts"].items()
    ]
    published = found["published"]
    lines += [
        "",
        f"The reference implementation takes {published['total']:.0f} s for the same networks on its authors' CPU, "
        f"{published['median']} s in the median, for graph and prediction by its largest hypernet, without writing.",
    ]
    return "\n".join(lines)


def parity(found: Result) -> str:
    """Return how far our reading of published hypernets is from their own code."""
    totals = found["totals"]
    return (
        f"Of {totals['networks']} networks, {totals['equal_graphs']} have the same nodes, edges and virtual edges as "
        f"the reference implementation draws. Of the {totals['tensors']:,} tensors predicted for them, the worst "
        f"differs by {totals['worst']:.1e} in relative L2."
    )


def speed(found: Result) -> str:
    """Return what reading a graph and predicting from it take, network by network."""
    lines = ["| network | nodes | graph | prediction | memory |", "|---|--:|--:|--:|--:|"]
    lines += [
        f"| `{row['network']}` | {row['nodes']:,} | {row['graph_cpu_s']:.2f} s | {row['predict_cpu_s']:.2f} s | "
        f"{row['peak_mib']:,} MiB |"
        for row in found["networks"]
    ]
    return "\n".join(lines)


def training(found: Result) -> str:
    """Return what a step of training a hypernet takes, beside plain training of the same networks."""
    lines = ["| networks | points | step | plain training | ratio |", "|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {case['networks']} | {case['points']} | {1000 * case['seconds']:.0f} ms | "
        f"{1000 * case['plain_seconds']:.0f} ms | {case['ratio']:.2f} |"
        for case in found["cases"]
    ]
    return "\n".join(lines)


def load(found: Result) -> str:
    """Return a table of requests to a service, and what else was seen under load."""
    lines = ["| | clients | requests | failed | per second | median | 99 % within |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, text in {"first": "one after the other, all new", "together": "at once", "alone": "one again"}.items():
        row = found[name]
        lines.append(
            f"| {text} | {row.get('clients', 1)} | {row['requests']:,} | {row['wrong']} | {row['per_second']:.0f} | "
            f"{row['p50_ms']:,.0f} ms | {row['p99_ms']:,.0f} ms |"
        )
    memory, slow = found["rss_mib"], found["slow"]
    lines += ["", f"Memory of the service over the run: {min(memory):,.0f} to {max(memory):,.0f} MiB. "]
    lines[-1] += (
        f"A fast reader takes {slow['beside_p50_ms']:.0f} ms beside {slow['slow_readers']} that hardly read, and "
        f"{slow['alone_p50_ms']:.0f} ms alone."
    )
    return "\n".join(lines)


def memory(found: Result) -> str:
    """Return a table of what workers share, and what a server keeps of a thousand connections."""
    lines = ["| workers | memory of all | of it the hypernet |", "|--:|--:|--:|"]
    lines += [
        f"| {row['workers']} | {sum(row['pss_mib']):,.0f} MiB | {row['hypernet_kb']['Pss'] / 1024:.1f} MiB |"
        for row in found["workers"]
    ]
    crowd = found["crowd"]
    answers = [f"{count} times {status}" for status, count in sorted(crowd["rounds"][-1]["answers"].items())]
    lines += [
        "",
        f"Of {crowd['connections']:,} connections that ask at once, the last of {len(crowd['rounds'])} rounds was "
        f"answered {' and '.join(answers)} (come back). Memory after each round: "
        f"{', '.join(f'{value:,.0f}' for value in crowd['rss_mib'])} MiB.",
    ]
    return "\n".join(lines)


def mixed(found: Result) -> str:
    """Return how long small predictions take beside callers of every kind, and a figure of the time that passes."""
    small, alone, samples = found["small"], found["alone"], found["samples"]
    kinds = ", ".join(f"{100 * share:.0f} % {_KINDS[kind]}" for kind, share in found["mix"].items())
    hostile = sum(found["statuses"]["hostile"].values())
    text = (
        f"{found['clients']} clients for {found['minutes']:.0f} minutes on {found['hardware']['cores']} core that "
        f"other work shared (load {found['hardware']['load']:.0f}; {kinds}): of {small['requests']:,} new small "
        f"predictions the median takes {small['p50_ms'] / 1000:.1f} s and 99 % at most {small['p99_ms'] / 1000:.1f} s; "
        f"a lone client waits {alone['before']['p50_ms'] / 1000:.2f} s in the median before it and "
        f"{alone['after']['p50_ms'] / 1000:.2f} s after it. {sum(found['failed'].values())} honest requests failed, "
        f"{found['compared']:,} files that were asked for again had the same bytes, {hostile:,} requests were hostile."
    )
    label = (
        f"Over {samples['minute'][-1]:.0f} minutes: seconds of small predictions, memory from "
        f"{min(samples['rss_mib']):,.0f} to {max(samples['rss_mib']):,.0f} MiB, at most "
        f"{max(samples['descriptors']):.0f} open files."
    )
    return f'{text}\n\n<figure role="img" aria-label="{label}">{load_figure(samples)}</figure>'


_KINDS: Final = {
    "small": "small predictions",
    "large": "larger ones",
    "leaves": "leave before they are answered",
    "hardly reads": "hardly read",
    "hostile": "hostile",
}


def provenance(name: str, found: Result) -> str:
    """Return where a result comes from, in a small line."""
    hardware = found.get("hardware", {})
    parts = [
        f"commit {found['commit'][:10]}",
        str(found.get("date", "")),
        str(hardware.get("processor") or hardware.get("machine") or ""),
        f"torch {found['versions']['torch']}",
    ]
    text = escape(", ".join(part for part in parts if part))
    return f"<small>`{name}.json`: {text}</small>\n{{ .provenance }}"


def _ended(row: Result, start: str) -> str:
    entry = row["initializations"][start]
    if entry["lr"] is None:
        return "failed"
    return f"{_percent(entry['final']['mean'])} ± {_percent(entry['final']['std'])}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
