"""Tables of what priors bring to the models, from the JSON of `genetext bench cells`.

    genetext bench cells FILE --labels cell_type --priors human/minilm --post center \
        --models topic,refinement,contrastive,contrastive-labels --m 1,5,20 --seeds 5 --permutations 10 \
        --max-cells 1000 --no-found-clusters --set contrastive.epochs=30 --json > NAME.json
    python benchmarks/ablation.py NAME.json ...

Means over seeds, and paired differences with their 95 % intervals; the verdicts are those of `genetext bench cells`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from genetext.escape import printable

TASKS = {"labelling": ("macro_f1", "mean"), "grouping": ("ari", "K given")}
VERDICTS = {"helps": "**helps**", "harms": "**worse**"}


def rows(report: dict[str, Any], name: str, task: str) -> list[str]:
    """Return a line for each method of one data set."""
    measure, at = TASKS[task]
    means = {(row["method"], row["control"]): row["mean"] for row in report["table"] if _is(row, measure, at)}
    apart = {(row["method"], row["gain"], row["versus"]): row for row in report["differences"] if _is(row, measure, at)}
    lines = [f"| {name} | expression alone | | | {means['expression', 'none']:.3f} | | | | |"]
    for claim in report["claims"]:
        method = claim["method"]
        if claim["task"] != task:
            continue
        shown = [f"{means[method, arm]:.3f}" if (method, arm) in means else "" for arm in ("prior", "random", "none")]
        pairs = [("prior", "none"), ("permuted", "none"), ("prior", "permuted")]
        gains = [_interval(apart.get((method, *pair))) for pair in pairs]
        verdict = VERDICTS.get(claim["verdict"], claim["verdict"])
        method = "gene vectors alone" if method == "priors" else method
        lines.append("| | " + " | ".join([method, *shown, *gains, verdict]) + " |")
    return lines


def _is(row: dict[str, Any], measure: str, at: str) -> bool:
    return bool(row["measure"] == measure and str(row["at"]) == at)


def _interval(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    for task in TASKS:
        print(f"\n{task}\n")
        print(
            "| data | method | prior | random | none | prior - none | permuted - none | prior - permuted | the text |"
        )
        print("|---" * 9 + "|")
        for file in options.files:
            report = json.loads(file.read_text())
            print(printable("\n".join(rows(report, report["data"].split("_")[0], task))))


if __name__ == "__main__":
    main()
