"""The gene benchmark: tasks, methods and every control, under one policy, into one table."""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext import disk
from genetext import species as known_species
from genetext.bench import controls, registry
from genetext.bench.classify import Protocol, Score
from genetext.bench.controls import ControlOptions
from genetext.bench.kinds import TaskKind
from genetext.bench.ledger import Ledger
from genetext.bench.methods import Method, open_method, parse
from genetext.bench.report import Benchmark
from genetext.bench.tasks import Selection, Task
from genetext.errors import BenchError, first_ten
from genetext.index import GeneIndex
from genetext.progress import Progress
from genetext.provenance import library_versions, source_digest
from genetext.species import Species


def bench_genes(
    tasks: Path,
    methods: Sequence[str],
    *,
    kind: str = "terms",
    species: str | int | Species | None = None,
    selection: Selection | None = None,
    protocol: Protocol | None = None,
    control: ControlOptions | None = None,
    jobs: int = 1,
    root: Path | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Score vectors of genes, and every control beside them, on terms whose members are known.

    Parameters
    ----------
    tasks
        A file of the kind; of terms, a GMT, a table (term, gene), or (term, split, gene, result), see `gene_sets`.
    methods
        What to compare: `human/minilm`, `human/minilm@abtt:3`, `human/minilm++human/lexical`, `esm2.parquet`. The
        first is the one that others are compared with, and that permuted and random vectors are made of; the first
        index among them gives the texts of the other controls.
    kind
        What is asked: a name in `genetext.bench.registry`.
    species
        Whose genes the file names. Default: the species of the methods; another one goes through orthologs.
    selection, protocol, control
        Which terms are asked, how they are scored, and how controls are made. Default: those of the classes. The seed
        of the controls is that of the bootstrap, too.
    jobs
        Processes that score terms; -1 for one per core. The numbers do not depend on it.
    root
        The cache root.
    progress
        Callback, see `Progress`; it counts scores as `bench`.

    Raises
    ------
    BenchError
        The file has no terms, or none that can be asked; methods are of different species, or there are none.
    GenetextError
        An index cannot be opened.
    """
    root = root or disk.cache_dir()
    protocol = protocol or Protocol()
    control = control or ControlOptions()
    asks = registry.find(kind)
    _refuse(methods)
    rows = [open_method(name, root=root) for name in methods]
    of_species = _species(rows)
    in_file = of_species if species is None else known_species.find(species)
    indices = _indices(methods, root)
    resolver = _resolver(in_file, of_species, indices, root)
    asked = asks.read(tasks, resolver, to=of_species, selection=selection)
    if not len(asked.gene_ids):
        raise BenchError(
            f"none of the {len(asked.report):,} names in {tasks.name} is a known {in_file.name} gene: "
            f"{first_ten(asked.report.names.tolist())}; say whose genes they are (--species)"
        )
    rows += controls.vector_controls(rows[0], control)
    not_measured: dict[str, str] = {}
    if not indices:
        not_measured["controls on texts"] = "no method named is an index, which would have texts"
    else:
        on_texts, not_measured = controls.text_controls(controls.Texts.of(indices[0], root=root))
        rows += on_texts
    for index in indices if control.reencode else []:
        texts = controls.Texts.of(index, root=root)
        if texts.snapshot is None:
            not_measured[f"{index.path.name} on other texts"] = texts.lacking
        else:
            rows += controls.reencoded(index, texts, root=root, progress=progress, payment=control.payment)

    coverage = [np.intersect1d(asked.gene_ids, row.gene_ids) for row in rows]
    in_all = reduce(np.intersect1d, coverage)
    universe = in_all if protocol.missing == "drop" else asked.gene_ids
    least = max(protocol.folds, protocol.inner_folds + 1)
    chosen, left_out = asked.among(universe.tolist(), at_least=least)
    if not chosen:
        reasons = [f"{term}: {reason}" for term, reason in left_out.items()]
        raise BenchError(f"no term of {tasks.name} can be asked: {first_ten(reasons) or 'it has none'}")
    decided = protocol.to_json(given_splits=asked.given_splits)
    scores = _scored(asks, rows, chosen, protocol, decided, jobs=jobs, root=root, progress=progress)
    in_tasks = np.unique(np.concatenate([task.gene_ids.ravel() for task in chosen]))
    about = {
        "tasks": asked.name,
        "kind": asks.name,
        "given_splits": asked.given_splits,
        "protocol": decided,
        "missing": protocol.missing,
        "n_terms": len(chosen),
        "n_genes": len(in_tasks),
        "n_without": len(asked.gene_ids) - len(in_all),
        "unmatched": {
            "n": len(asked.report) - asked.report.n_matched,
            "names": first_ten(asked.report.names[~asked.report.mask].tolist()),
        },
        **asked.about,
        "left_out": left_out,
        "not_measured": not_measured,
    }
    without = [len(asked.gene_ids) - len(covered) for covered in coverage]
    return Benchmark(_long(rows, chosen, scores), about, _listed(rows, without), control.seed)


def _refuse(methods: Sequence[str]) -> None:
    if not methods:
        raise BenchError("name at least one index to measure, for example human/minilm")
    if len(set(methods)) < len(methods):
        raise BenchError(f"a method is named twice: {first_ten(methods)}")
    for name in methods:
        parse(name)


def _species(methods: Sequence[Method]) -> Species:
    names = {method.priors.species for method in methods if method.priors.species}
    if len(names) != 1:
        raise BenchError(f"the methods are of {' and '.join(sorted(names)) or 'no species'}: compare those of one")
    return known_species.find(names.pop())


def _indices(methods: Sequence[str], root: Path) -> list[GeneIndex]:
    """Return the indices that the methods are made of, each once."""
    names = dict.fromkeys(block.source for name in methods for block in parse(name))
    return [GeneIndex.open(name, root=root) for name in names if not name.endswith((".parquet", ".safetensors"))]


def _resolver(in_file: Species, of_species: Species, indices: Sequence[GeneIndex], root: Path) -> Any:
    """Return a resolver by the snapshot that an index was built from, else by the newest one."""
    from genetext.names import Resolver, snapshots

    snapshot = None
    if indices and in_file.tax_id == of_species.tax_id:
        snapshot = controls.Texts.of(indices[0], root=root).snapshot
    return Resolver(snapshot or snapshots.default(in_file, root=root), root=root)


def _scored(
    kind: TaskKind,
    methods: Sequence[Method],
    tasks: Sequence[Task],
    protocol: Protocol,
    decided: dict[str, Any],
    *,
    jobs: int,
    root: Path,
    progress: Progress | None,
) -> list[dict[str, Score]]:
    """Return for each method the scores by task digest: those known, and the others computed and written down."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    by_vectors = {method.fingerprint: method for method in methods}
    conditions = {
        "kind": kind.name,
        "protocol": decided,
        "code": source_digest("genetext", kind.score.__module__.partition(".")[0]),
        "libraries": library_versions("numpy", "scipy", "scikit-learn"),
    }
    ledgers = {
        fingerprint: Ledger(root, {**conditions, "vectors": fingerprint}, decode=Score.from_json)
        for fingerprint in by_vectors
    }
    open_tasks = {
        fingerprint: [task for task in tasks if task.digest not in ledger.scores]
        for fingerprint, ledger in ledgers.items()
    }
    done, total = 0, sum(map(len, open_tasks.values()))

    def work() -> Iterator[Any]:
        for fingerprint, of_method in open_tasks.items():
            if of_method:
                vectors = by_vectors[fingerprint].rows()
                for task in of_method:
                    yield delayed(_score)(
                        fingerprint, kind.score, task, kind.features(vectors(task.gene_ids)), protocol
                    )

    waiting: dict[str, dict[str, Score]] = {fingerprint: {} for fingerprint in by_vectors}

    def keep(fingerprint: str) -> None:
        ledgers[fingerprint].add({digest: score.to_json() for digest, score in waiting[fingerprint].items()})
        waiting[fingerprint] = {}

    try:
        for fingerprint, digest, scored in Parallel(n_jobs=jobs, return_as="generator_unordered")(work()):
            waiting[fingerprint][digest] = scored
            done += 1
            if progress is not None:
                progress("bench", done, total)
            if len(waiting[fingerprint]) == len(open_tasks[fingerprint]):
                keep(fingerprint)
    finally:
        # What a run that was stopped has finished is there for the next one.
        for fingerprint in waiting:
            keep(fingerprint)
    return [ledgers[method.fingerprint].scores for method in methods]


def _score(
    fingerprint: str,
    score: Callable[[Task, NDArray[np.float32], Protocol], Score],
    task: Task,
    points: NDArray[np.float32],
    protocol: Protocol,
) -> tuple[str, str, Score]:
    return fingerprint, task.digest, score(task, points, protocol)


def _long(methods: Sequence[Method], tasks: Sequence[Task], scores: Sequence[dict[str, Score]]) -> pd.DataFrame:
    draws: dict[str, list[dict[str, Score]]] = {}
    for method, of_method in zip(methods, scores, strict=True):
        draws.setdefault(method.name, []).append(of_method)
    rows = [
        {
            "method": name,
            "term": task.term,
            "auroc": float(np.mean([draw[task.digest].auroc for draw in several])),
            "fold_auroc": float(np.mean([draw[task.digest].fold_auroc for draw in several])),
            "c": tuple(sorted(c for draw in several for c in draw[task.digest].c)),
            "n_genes": len(np.unique(task.gene_ids)),
            "n_positive": int(task.labels.sum()),
        }
        for name, several in draws.items()
        for task in tasks
    ]
    return pd.DataFrame(rows)


def _listed(methods: Sequence[Method], without: Sequence[int]) -> pd.DataFrame:
    rows = [
        {
            "method": method.name,
            "control": method.control,
            "dim": method.priors.dim,
            "n_without": lacking,
            "note": method.note,
        }
        for method, lacking in zip(methods, without, strict=True)
    ]
    return pd.DataFrame(rows).drop_duplicates("method", ignore_index=True)
