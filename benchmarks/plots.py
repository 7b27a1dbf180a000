"""Draws what bench.py measured: seconds for each payload, and time and memory against size."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import figures
from contestants import named

# Okabe and Ito's colours: told apart with any kind of colour vision.
COLOURS = {
    "ours, s3": "#0072B2",
    "ours, redis": "#56B4E9",
    "ours, s3 on file://": "#009E73",
    "Airflow object storage": "#D55E00",
    "Dagster S3 pickle": "#CC79A7",
}
LABELS = {
    "ours, s3": "this template, s3",
    "ours, redis": "this template, redis",
    "ours, s3 on file://": "this template, folder",
    "Airflow object storage": "Airflow's object storage",
    "Dagster S3 pickle": "Dagster, S3 pickle",
}
BARS = ("ours, s3", "ours, redis", "Airflow object storage", "Dagster S3 pickle")
PAYLOADS = {
    "pandas mixed": "pandas\n1,000,000 × 10\nmixed",
    "pandas random": "pandas\n1,000,000 × 10\nrandom floats",
    "json records": "JSON\n300,000\nrecords",
    "numpy": "numpy\n1000 × 4000",
    "bytes": "bytes\n64 MiB",
    "file": "file\n256 MiB",
}


def draw(whole: dict[str, Any], folder: Path) -> None:
    """Write the plots for which something was measured."""
    import matplotlib

    matplotlib.use("Agg")
    for former in folder.glob("bench-*.png"):
        former.unlink()
    _seconds(whole["transfers"], folder / "bench-seconds.png")
    if whole.get("scaling"):
        _scaling(whole["scaling"], folder / "bench-scaling.png")


def _best(results: figures.Results, payload: str, name: str) -> list[float]:
    """Seconds of each round; of Airflow's object storage those of its fastest configuration."""
    if name == "Airflow object storage" and (peer := figures.best_peer(results, payload)):
        name = peer.name
    return figures.sums(figures.of(results, payload, name))


def _seconds(results: figures.Results, path: Path) -> None:
    from matplotlib import pyplot

    shown = [payload for payload in PAYLOADS if figures.of(results, payload, "ours, s3")]
    if not shown:
        return
    figure, axes = pyplot.subplots(1, len(shown), figsize=(1.9 * len(shown), 3.6), squeeze=False)
    for axis, payload in zip(axes[0], shown, strict=True):
        found = [_best(results, payload, name) for name in BARS]
        values = [statistics.median(rounds) if rounds else None for rounds in found]
        top = max(max(rounds) for rounds in found if rounds)
        for place, (name, value) in enumerate(zip(BARS, values, strict=True)):
            about = [
                [(value or 0) - min(found[place], default=0)],
                [max(found[place], default=0) - (value or 0)],
            ]
            axis.bar(place, value or 0, color=COLOURS[name], width=0.8, yerr=about, ecolor="#555555")
            if value is None:
                said = "cannot" if named(name).takes_part(payload) else "–"
            else:
                said = f"{value:.2f}" if value < 10 else f"{value:.1f}"
            turned = 90 if said == "cannot" else 0
            axis.text(
                place,
                max(found[place], default=0) + top * 0.02,
                said,
                ha="center",
                va="bottom",
                fontsize=8,
                rotation=turned,
            )
        axis.set_ylim(0, top * 1.15)
        axis.set_title(PAYLOADS[payload], fontsize=9)
        axis.set_xticks([])
        axis.tick_params(axis="y", labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("seconds, push + pull", fontsize=9)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in BARS]
    figure.legend(
        handles, [LABELS[name] for name in BARS], loc="lower center", ncols=4, frameon=False, fontsize=9
    )
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _scaling(results: figures.Results, path: Path) -> None:
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullFormatter

    titles = {
        "pandas mixed": ("pandas frame", "rows of 100 bytes"),
        "file": ("file", "bytes"),
        "mapped": ("mapped values", "values of 200 bytes"),
    }
    figure, axes = pyplot.subplots(2, len(titles), figsize=(11, 6), sharex="col")
    lines: dict[str, Any] = {}
    for column, (payload, (title, unit)) in enumerate(titles.items()):
        of_payload = [r for r in results if r["payload"] == payload and "push" in r]
        for name in dict.fromkeys(r["contestant"] for r in of_payload):
            sizes = sorted({r["size"] for r in of_payload if r["contestant"] == name})
            rounds = [[r for r in of_payload if (r["contestant"], r["size"]) == (name, s)] for s in sizes]
            style = {"color": COLOURS[name], "marker": "o", "markersize": 4, "linewidth": 1.5}
            (lines[name],) = axes[0][column].plot(sizes, [figures.total(r) or 0 for r in rounds], **style)
            axes[1][column].plot(sizes, [max((figures.peak(r) or 0) / 1e6, 0.1) for r in rounds], **style)
        for axis in (axes[0][column], axes[1][column]):
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=8)
        axes[0][column].set_title(title, fontsize=10)
        axes[1][column].set_xlabel(unit, fontsize=9)
    axes[0][0].set_ylabel("seconds, push + pull", fontsize=9)
    axes[1][0].set_ylabel("peak memory, MB", fontsize=9)
    labels = [LABELS[name] for name in lines]
    figure.legend(list(lines.values()), labels, loc="lower center", ncols=4, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
