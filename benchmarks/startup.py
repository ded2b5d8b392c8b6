"""How long the command line takes to start, beside `import pandas` in the same run.

    python benchmarks/startup.py [--repeats 15]

Whole processes, one after another in turn, wall-clock medians. The aim: `genetext --help` in under half the time of
`python -c "import pandas"`.
"""

import argparse
import os
import statistics
import subprocess
import sys
from time import perf_counter

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import genetext": ["-c", "import genetext"],
    "genetext --help": ["-c", "from genetext.cli import main; main()", "--help"],
    "genetext --version": ["-c", "from genetext.cli import main; main()", "--version"],
    "import pandas": ["-c", "import pandas"],
    "import torch": ["-c", "import torch"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            start = perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if turn:  # the first turn warms the disk cache
                seconds[name].append(perf_counter() - start)
    pandas = statistics.median(seconds["import pandas"])
    print(f"{os.cpu_count()} cores, median of {repeats}")
    print(f"{'':20}{'ms':>8}{'of pandas':>11}")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"{name:20}{1000 * middle:8.0f}{middle / pandas:11.2f}")


if __name__ == "__main__":
    main()
