"""Does the text help? Vectors of genes, put to tasks whose answers are known, beside controls.

`genetext.bench.genes` is the whole of it: tasks out of a file of gene sets, the methods asked for, every control, and
a table that says which differences chance would not give.
"""

from genetext.bench.classify import Protocol, Score
from genetext.bench.controls import ControlOptions
from genetext.bench.genes import bench_genes
from genetext.bench.kinds import TaskFile, TaskKind
from genetext.bench.report import Benchmark
from genetext.bench.tasks import Selection, Task
from genetext.bench.terms import GeneTasks

__all__ = [
    "Benchmark",
    "ControlOptions",
    "GeneTasks",
    "Protocol",
    "Score",
    "Selection",
    "Task",
    "TaskFile",
    "TaskKind",
    "bench_genes",
]
