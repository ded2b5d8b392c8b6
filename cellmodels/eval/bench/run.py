"""bench_cells: every method with its prior and with every control, on the same cells, into one result."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellmodels.data.inputs import labels_of, read_cells
from cellmodels.eval.bench import ledger
from cellmodels.eval.bench.embeddings import (
    WEIGHTING,
    Known,
    Make,
    embed,
    embed_labelled,
    fingerprint,
)
from cellmodels.eval.bench.protocol import EXPRESSION, PRIORS, Arm, Protocol
from cellmodels.eval.bench.report import CellsBenchmark
from cellmodels.eval.bench.scores import Score, Truth, grouping, labelling
from cellmodels.registry import BUILT_IN
from genetext import disk
from genetext.errors import BenchError, first_ten
from genetext.progress import Progress

if TYPE_CHECKING:
    from genetext.priors import GenePriors

log = logging.getLogger("genetext")
_MODELS = tuple(entry.name for entry in BUILT_IN)


def bench_cells(
    adata: Any,
    labels: str,
    *,
    priors: "GenePriors | str | Path | None" = None,
    models: Sequence[str] | Mapping[str, Make] = _MODELS,
    groups: str | None = None,
    protocol: Protocol | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    max_cells: int | None = None,
    quick: bool = False,
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
        labelled cells, with their labels, and not grouped. Or a mapping from a name to a function that makes a model
        from a seed.
    groups
        The column of donors or batches: one is held out at a time, another one for each seed.
    protocol
        Numbers of cells, seeds and permutations. Default: `Protocol()`.
    settings
        Hyper-parameters of models by name.
    max_cells
        Take so many cells at most, drawn once for all.
    quick
        Take small models and few epochs, where `settings` say nothing else.
    device
        To train on.
    jobs
        Processes, each fitting on one thread; -1: one per core.
    root
        The cache root; what was scored before is read from its `bench/cells`.
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
    makers = _makers(models, settings or {}, quick=quick)
    aligned = _aligned(adata, priors, **align)  # before cells are drawn: the report is of the data as they are
    adata = _drawn(adata, labels, max_cells)
    truth = _truth(adata, labels, groups)
    what = {
        "data": _digest(adata, truth),
        "priors": None if aligned is None else _digest_of_priors(aligned),
        "protocol": protocol.to_json(),
        "versions": _versions(),
    }
    world = _World(adata, truth, aligned, makers, protocol, device)
    arms = list(protocol.arms(list(makers), prior=aligned is not None))
    scores = _scored(world, arms, what, jobs=jobs, root=root or disk.cache_dir(), progress=progress)
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
        "models": {one: fingerprint(make)["config"] for one, make in makers.items()},
        "quick": quick,
        "interval": "Student's t over seeds, paired, 95 %",
    }
    return CellsBenchmark(_long(arms, scores), about)


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
            chosen = make

            def fitted(train: Any, known: Any, seed: int) -> Any:
                del seed  # the arm has it
                return embed_labelled(arm, self.adata, train, known, self.priors, chosen, device=self.device)

            return labelling(fitted, truth, protocol, arm.seed)
        fitted_on = truth.fitted_on(protocol, arm.seed)
        embedding = embed(arm, self.adata, fitted_on, self.priors, make, device=self.device)
        found = labelling(embedding, truth, protocol, arm.seed)
        return found + grouping(embedding, truth, protocol, arm.seed) if protocol.clusters else found


def _scored(
    world: _World,
    arms: Sequence[Arm],
    what: Mapping[str, Any],
    *,
    jobs: int,
    root: Path,
    progress: Progress | None,
) -> dict[Arm, list[Score]]:
    """Return the scores of every arm: those known, and the others computed and written down one by one."""
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    told = {arm: {**what, "arm": vars(arm), "model": _model(world.makers, arm)} for arm in arms}
    places = {arm: ledger.path_of(one, root=root) for arm, one in told.items()}
    scores = {arm: found for arm in arms if (found := ledger.read(places[arm])) is not None}
    waiting = [arm for arm in arms if arm not in scores]
    done = len(scores)
    if done:
        log.info("%d of %d embeddings were scored before", done, len(arms))
    work = (delayed(_one)(world, arm) for arm in waiting)
    for arm, found in Parallel(n_jobs=jobs, return_as="generator_unordered")(work):
        ledger.write(places[arm], told[arm], found)
        scores[arm] = found
        done += 1
        if progress is not None:
            progress("fits", done, len(arms))
    return scores


def _one(world: _World, arm: Arm) -> tuple[Arm, list[Score]]:
    return arm, world.score(arm)


def _makers(
    models: Sequence[str] | Mapping[str, Make], settings: Mapping[str, Mapping[str, Any]], *, quick: bool
) -> dict[str, Make]:
    taken = {EXPRESSION, PRIORS} & set(models)
    if taken:
        raise BenchError(f"{', '.join(sorted(taken))} is measured in any case: name models alone")
    unknown = sorted(set(settings) - set(models))
    if unknown:
        raise BenchError(f"there are settings of {first_ten(unknown)}, which is not measured: {', '.join(models)} are")
    if isinstance(models, Mapping):
        makers = dict(models)
    else:
        if len(set(models)) < len(models):
            raise BenchError(f"a model is named twice: {', '.join(models)}")
        known = [Known(name, settings.get(name, {})) for name in models]
        makers = {model.name: model.quick() if quick else model for model in known}
    for make in makers.values():
        make(0)  # refuses what its hyper-parameters cannot be, before any work
    return makers


def _aligned(adata: Any, priors: Any, **align: Any) -> "GenePriors | None":
    if priors is None:
        return None
    from genetext.cells.embed import aligned

    return aligned(priors, adata, missing="mask", **align)


def _drawn(adata: Any, labels: str, max_cells: int | None) -> Any:
    if labels not in adata.obs:
        raise BenchError(f"there is no column {labels!r} in obs: there are {first_ten(list(adata.obs)) or 'none'}")
    if max_cells is None or adata.n_obs <= max_cells:
        return adata
    if max_cells < 2:
        raise BenchError(f"max_cells is {max_cells}: take two at least")
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
    missing = int(adata.obs[groups].isna().sum())
    if missing:
        raise BenchError(f"{missing:,} cells have no {groups}: leave them out, or name what they are")
    return Truth(names, adata.obs[groups].astype(str).to_numpy(object))


def _model(makers: Mapping[str, Make], arm: Arm) -> Any:
    if arm.method in makers:
        return fingerprint(makers[arm.method])
    return {"weighting": WEIGHTING} if arm.method == PRIORS else {}


def _digest(adata: Any, truth: Truth) -> str:
    cells = read_cells(adata, needs="log")
    digest = hashlib.sha256()
    for array in (cells.matrix.indptr, cells.matrix.indices, cells.matrix.data):
        digest.update(np.ascontiguousarray(array).tobytes())
    named: list[Any] = [adata.var_names, truth.labels, [] if truth.groups is None else truth.groups]
    for values in named:
        digest.update("\n".join(map(str, values)).encode() + b"\0")
    return digest.hexdigest()


def _digest_of_priors(priors: "GenePriors") -> str:
    digest = hashlib.sha256(np.ascontiguousarray(priors.vectors).tobytes())
    digest.update(priors.mask.tobytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    # A model that was changed is another model, whatever the version says.
    sources = sorted(Path(__file__).parents[1].glob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    return {**{name: version(name) for name in ("genetext", "torch", "scikit-learn", "numpy")}, "code": code}


def _long(arms: Sequence[Arm], scores: Mapping[Arm, Sequence[Score]]) -> pd.DataFrame:
    columns = ["method", "control", "seed", "draw", "measure", "at", "value"]
    rows = [(arm.method, arm.control, arm.seed, arm.draw, *score) for arm in arms for score in scores[arm]]
    return pd.DataFrame(rows, columns=columns)
