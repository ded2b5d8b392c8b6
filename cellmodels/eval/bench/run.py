"""bench_cells: every method with its prior and with every control, on the same cells, into one result."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellmodels.data.identity import data_digest, digest_of
from cellmodels.data.inputs import read_cells
from cellmodels.eval.bench.embeddings import (
    WITHOUT_MODEL,
    Known,
    Make,
    embed,
    embed_labelled,
    fingerprint,
)
from cellmodels.eval.bench.protocol import Arm, Protocol
from cellmodels.eval.bench.registry import TASKS
from cellmodels.eval.bench.report import CellsBenchmark
from cellmodels.eval.bench.task import Score, Truth
from cellmodels.registry import BUILT_IN
from genetext import disk
from genetext.bench.ledger import Ledger
from genetext.errors import BenchError, first_ten
from genetext.labels import complete_labels, labels_of
from genetext.progress import Progress
from genetext.provenance import library_versions, source_digest

if TYPE_CHECKING:
    from genetext.priors import GenePriors

log = logging.getLogger("genetext")
_MODELS = tuple(entry.name for entry in BUILT_IN)


def bench_cells(
    adata: Any,
    labels: str,
    *,
    priors: "GenePriors | str | Path | None" = None,
    models: Sequence[str | Known] | Mapping[str, Make] = _MODELS,
    groups: str | None = None,
    protocol: Protocol | None = None,
    device: str = "cpu",
    jobs: int = 1,
    root: Path | None = None,
    progress: Progress | None = None,
    name: str = "data",
    **align: Any,
) -> CellsBenchmark:
    """Measure whether a prior helps to group and to label these cells.

    Compared are expression alone (principal components), averaged gene vectors alone, and each model; the last two with
    the prior, permuted priors, a random prior, and models with none. An embedding is fitted without labels to all
    cells, once per seed; with `groups` to all but one group, and scored on that one. Labels are given to test cells by
    their nearest neighbours among a few cells of each type (`cellmodels.eval.low_sample`).

    Parameters
    ----------
    adata
        Cells with counts or log-normalised values.
    labels
        The column of `obs` with their types; cells without one take part in fitting alone.
    priors
        Gene vectors, or the name of an index; aligned here where they are not. None: models without a prior alone.
    models
        Names of models (`cellmodels.registry`); with `-labels` behind, such as `contrastive-labels`, fitted to the few
        labelled cells, with their labels, and not grouped. `Known` has a name with hyper-parameters. Or a mapping from
        a name to a function that makes a model from a seed.
    groups
        The column of donors or batches: one is held out at a time, another one for each seed.
    protocol
        Numbers of cells, seeds and permutations. Default: `Protocol()`.
    device
        To train on.
    jobs
        Processes, each fitting on one thread; -1: one per core.
    root
        The cache root; what was scored before is read from its `bench`.
    progress
        Told `("fits", done, total)`.
    name
        What to call the data.
    **align
        How genes are matched: `species`, `column`, `min_match` ... (`GenePriors.align`).

    Raises
    ------
    BenchError
        There is no such column, fewer than two types, no such model, or numbers that mean nothing.
    ModelError, CellsError
        A model cannot be fitted to these cells.
    """
    protocol = protocol or Protocol()
    makers = _makers(models)
    aligned = _aligned(adata, priors, **align)  # before cells are drawn: the report is of the data as they are
    adata = _drawn(adata, labels, protocol.max_cells)
    truth = _truth(adata, labels, groups)
    read_cells(adata, needs="log")  # refuses what is no expression
    models_used = {model: fingerprint(make) for model, make in makers.items()}
    conditions = {
        "data": data_digest(adata),
        "truth": disk.sha256_json([truth.labels.tolist(), None if truth.groups is None else truth.groups.tolist()]),
        "priors": None if aligned is None else digest_of(aligned.vectors, aligned.mask),
        "protocol": protocol.scoring(),
        "device": device,
        "code": source_digest("genetext", "cellmodels"),
        "libraries": library_versions("torch", "numpy", "scipy", "scikit-learn", "pandas", "anndata", "igraph"),
    }
    world = _World(adata, truth, aligned, makers, protocol, device)
    keys = {
        arm: disk.sha256_json([vars(arm), models_used.get(arm.method)])
        for arm in protocol.arms(list(makers), prior=aligned is not None)
    }
    ledger = Ledger(root or disk.cache_dir(), conditions, decode=_scores)
    scores = _scored(world, keys, ledger, jobs=jobs, progress=progress)
    known = [label for label in truth.labels if label is not None]
    about = {
        "data": name,
        "labels": labels,
        "groups": groups,
        "n_cells": int(adata.n_obs),
        "n_labelled": len(known),
        "n_types": len(set(known)),
        "smallest_type": int(pd.Series(known).value_counts().min()),
        "priors": "none" if aligned is None else aligned.description,
        "n_with_prior": 0 if aligned is None else aligned.n_matched,
        "protocol": protocol.to_json(),
        "models": {model: used["config"] for model, used in models_used.items()},
        "quick": any(isinstance(make, Known) and make.quick for make in makers.values()),
        "interval": "Student's t over seeds, paired, 95 %",
    }
    return CellsBenchmark(_long(scores), about)


@dataclass(frozen=True, eq=False)
class _World:
    """What every embedding is made from; can be sent to another process."""

    adata: Any
    truth: Truth
    priors: "GenePriors | None"
    makers: Mapping[str, Make]
    protocol: Protocol
    device: str

    def score(self, arm: Arm) -> list[Score]:
        """Make the embedding of an arm and score it, on one thread so that numbers do not depend on their number."""
        import torch
        from threadpoolctl import threadpool_limits

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1):
                return self._score(arm)
        finally:
            torch.set_num_threads(before)

    def _score(self, arm: Arm) -> list[Score]:
        truth, protocol = self.truth, self.protocol
        make = self.makers.get(arm.method)
        if isinstance(make, Known) and make.labelled:

            def embedded(train: Any, known: Any, _: int) -> Any:
                return embed_labelled(arm, self.adata, train, known, self.priors, make, device=self.device)

            tasks = [task for task in TASKS.values() if task.fits]
            return [score for task in tasks for score in task.score(embedded, truth, protocol, arm.seed)]
        fitted_on = truth.fitted_on(protocol, arm.seed)
        embedding = embed(arm, self.adata, fitted_on, self.priors, make, device=self.device)
        return [score for task in TASKS.values() for score in task.score(embedding, truth, protocol, arm.seed)]


def _scored(
    world: _World, keys: Mapping[Arm, str], ledger: Ledger[list[Score]], *, jobs: int, progress: Progress | None
) -> dict[Arm, list[Score]]:
    """Return the scores of every arm: those known, and the others computed and written down one by one."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    waiting = [arm for arm, key in keys.items() if key not in ledger.scores]
    done = len(keys) - len(waiting)
    if done:
        log.info("%d of %d embeddings were scored before", done, len(keys))
    for arm, scores in Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_score)(world, arm) for arm in waiting
    ):
        ledger.add({keys[arm]: scores})
        done += 1
        if progress is not None:
            progress("fits", done, len(keys))
    return {arm: ledger.scores[key] for arm, key in keys.items()}


def _score(world: _World, arm: Arm) -> tuple[Arm, list[Score]]:
    return arm, world.score(arm)


def _scores(entry: Any) -> list[Score]:
    return [(str(measure), str(at), float(value)) for measure, at, value in entry]


def _makers(models: Sequence[str | Known] | Mapping[str, Make]) -> dict[str, Make]:
    if isinstance(models, Mapping):
        makers = dict(models)
    else:
        known = [Known(model) if isinstance(model, str) else model for model in models]
        makers = {model.name: model for model in known}
        if len(makers) < len(known):
            raise BenchError(f"a model is named twice: {', '.join(model.name for model in known)}")
    taken = set(WITHOUT_MODEL) & set(makers)
    if taken:
        raise BenchError(f"{', '.join(sorted(taken))} is measured in any case: name models alone")
    for make in makers.values():
        make(0)  # refuses what its hyper-parameters cannot be, before any work
    return makers


def _aligned(adata: Any, priors: Any, **align: Any) -> "GenePriors | None":
    if priors is None:
        return None
    from genetext.cells.job import aligned

    return aligned(priors, adata, missing="mask", **align)


def _drawn(adata: Any, labels: str, max_cells: int | None) -> Any:
    if labels not in adata.obs:
        raise BenchError(f"there is no column {labels!r} in obs: there are {first_ten(list(adata.obs)) or 'none'}")
    if max_cells is None or adata.n_obs <= max_cells:
        return adata
    return adata[np.sort(np.random.default_rng(0).choice(adata.n_obs, max_cells, replace=False))].copy()


def _truth(adata: Any, labels: str, groups: str | None) -> Truth:
    names = labels_of(adata, labels)
    kinds = {name for name in names if name is not None}
    if len(kinds) < 2:
        raise BenchError(f"obs[{labels!r}] has {len(kinds)} types: two at least can be told apart")
    if groups is None:
        return Truth(names)
    if groups not in adata.obs:
        raise BenchError(f"there is no column {groups!r} in obs: there are {first_ten(list(adata.obs))}")
    return Truth(names, complete_labels(adata.obs[groups], what=groups, error=BenchError))


def _long(scores: Mapping[Arm, Sequence[Score]]) -> pd.DataFrame:
    columns = ["method", "control", "seed", "draw", "measure", "at", "value"]
    rows = [(arm.method, arm.control, arm.seed, arm.draw, *score) for arm, of_arm in scores.items() for score in of_arm]
    return pd.DataFrame(rows, columns=columns)
