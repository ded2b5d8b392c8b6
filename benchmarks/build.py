"""Time and memory of a full build, by stage, and of a build in which nothing changed.

    python benchmarks/build.py --source FOLDER_OR_URL [--species human] [--encoder lexical] [--repeats 3]

Each build is a process of its own with a cache of its own; peak memory is the operating system's figure for it
(`wait4`). Prints a table: medians over the repeats, and the limit that the project sets itself.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

STAGES = ("text", "compose", "encode", "write")
LIMIT_MB = 600


def build(arguments: argparse.Namespace, cache: Path) -> dict:
    command = [sys.executable, "-c", "from genetext.cli import main; main()", "build-index", "--json", "--quiet"]
    command += ["--species", arguments.species, "--encoder", arguments.encoder, "--source", arguments.source]
    environment = {**os.environ, "GENETEXT_CACHE": str(cache)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the build failed with status {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return {**json.loads(out), "peak_mb": usage.ru_maxrss / 1024, "cpu": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True)
    parser.add_argument("--species", default="human")
    parser.add_argument("--encoder", default="lexical")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    full, again = [], []
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            full.append(build(arguments, Path(folder)))
            again.append(build(arguments, Path(folder)))
    print(f"{arguments.species}, {arguments.encoder}, {os.cpu_count()} cores, median of {arguments.repeats}")
    print(f"{full[0]['coverage']['genes']:,} genes, {full[0]['n_texts']:,} texts, dimension {full[0]['dim']}")
    print(f"{'':12}{'total s':>9}" + "".join(f"{stage:>9}" for stage in STAGES) + f"{'cpu s':>9}{'peak MB':>9}")
    for name, runs in (("first build", full), ("nothing new", again)):
        stages = [statistics.median(run["seconds"].get(stage, 0.0) for run in runs) for stage in STAGES]
        total = statistics.median(sum(run["seconds"].values()) for run in runs)
        cpu, peak = (statistics.median(run[key] for run in runs) for key in ("cpu", "peak_mb"))
        print(f"{name:12}{total:9.1f}" + "".join(f"{stage:9.1f}" for stage in stages) + f"{cpu:9.1f}{peak:9.0f}")
    if arguments.encoder == "lexical":
        print(f"limit for the peak with lexical: {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
