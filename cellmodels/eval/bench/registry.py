"""Every task of the benchmark by its name, in the order of reports and figures."""

from cellmodels.eval.bench.grouping import GROUPING
from cellmodels.eval.bench.labelling import LABELLING

TASKS = {task.name: task for task in (LABELLING, GROUPING)}
