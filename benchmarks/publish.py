"""Writes what bench.py measured: bench.md and the plots beside the results, or the figures of README.md.

python publish.py [RESULTS | --readme]
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import plots
import readme
import report
from figures import kinds, steadiness
from targets import targets_table

ROOT = Path(__file__).resolve().parents[1]


def write_readme(whole: dict[str, Any], folder: Path) -> None:
    """Replace what is between the markers in README.md, and copy the plots."""
    file = ROOT / "README.md"
    text = file.read_text(encoding="utf-8")
    before, _, rest = text.partition(readme.BEGIN)
    after = rest.partition(readme.END)[2]
    section = f"{readme.BEGIN}\n\n{readme.section(whole)}\n{readme.END}"
    file.write_text(f"{before}{section}{after}", encoding="utf-8")
    for plot in folder.glob("bench-*.png"):
        shutil.copy(plot, ROOT / "docs" / plot.name)


def main(path: Path) -> None:
    """Write bench.md and the plots beside the results."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    on = whole["machine"]
    text = [
        f"# Benchmarks\n\n{on['processor']}, {on['cores']} cores, {on['memory_gib']} GiB, "
        f"Python {on['python']}. {steadiness(whole)}\n"
    ]
    text.append(targets_table(whole))
    text.append("## Push and pull\n")
    text += [report.table(whole["transfers"], payload) for (payload,) in kinds(whole["transfers"], "payload")]
    text.append(report.server_table(whole))
    tables = {
        "trips": report.trips_table,
        "far": report.far_table,
        "formats": report.formats_table,
        "scaling": report.scaling_table,
        "end_to_end": report.end_to_end_table,
        "scheduled": report.scheduled_table,
        "at_rest": report.rest_table,
    }
    text += [make(whole) for name, make in tables.items() if whole.get(name)]
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in whole.get("took", {}).items())
    text.append(f"Took: {took}.\n")
    path.with_name("bench.md").write_text("\n".join(text), encoding="utf-8")
    print(targets_table(whole) + "\n" + steadiness(whole))
    plots.draw(whole, path.parent)
    print(f"Written: {path}, {path.with_name('bench.md')} and the plots beside them")


if __name__ == "__main__":
    results_file = ROOT / "build" / "bench" / "bench.json"
    if sys.argv[1:] == ["--readme"]:
        write_readme(json.loads(results_file.read_text(encoding="utf-8")), results_file.parent)
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else results_file)
