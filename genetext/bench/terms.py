"""The kind `terms`: which genes belong to a term, and which do not; from files that `genetext.gene_sets` reads.

Where a file gives members only, the other genes of the file (the union of its terms) are the negatives: genes that
somebody annotated with something, so that being studied at all is not what tells them apart.

Names are resolved to GeneIDs; those that are not are counted and listed. A gene that comes twice in a term counts once,
where it came first with the folds before the holdout, so that no held-out gene is trained on; one that is both in and
out of a term is left out of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.bench.classify import score
from genetext.bench.kinds import TaskKind
from genetext.bench.tasks import Selection, Task
from genetext.gene_sets import HOLDOUT, read_terms

if TYPE_CHECKING:
    from genetext.names import MatchReport, Resolver
    from genetext.species import Species


@dataclass(frozen=True, eq=False)
class GeneTasks:
    """The terms of a file, its genes resolved.

    Attributes
    ----------
    name
        Of the file.
    frame
        Columns `term`, `gene_id`, `label` (bool), `split` (int16; 0 where none was given); each gene once per term.
    given_splits
        Whether the file says which genes are negatives, in which fold, and held out.
    report
        What became of the file's gene names.
    selection
        Which terms were taken, and sizes for files without splits.
    repeated, contradictory
        How many rows were left out since the gene was there already, or was both in and out of the term.
    """

    name: str
    frame: pd.DataFrame
    given_splits: bool
    report: "MatchReport"
    selection: Selection = field(default_factory=Selection)
    repeated: int = 0
    contradictory: int = 0

    @classmethod
    def read(
        cls,
        path: Path,
        resolver: "Resolver",
        *,
        to: "str | int | Species | None" = None,
        selection: Selection | None = None,
    ) -> "GeneTasks":
        """Read a file of terms.

        Parameters
        ----------
        path
            GMT or table, plain or gzipped.
        resolver
            Of the species whose names are in the file.
        to
            Species of the vectors, where it is another one; genes go through one-to-one orthologs.
        selection
            Which terms to take. Default: `Selection()`.

        Raises
        ------
        BenchError
            The file is absent or has none of the three forms, or a term that was named is not in it.
        """
        raw, given_splits = read_terms(path)
        selection = selection or Selection()
        # Negatives are the union of the whole file, whichever terms are taken of it.
        taken = selection.taken(list(dict.fromkeys(raw["term"])), path.name)
        if given_splits:
            raw = raw[raw["term"].isin(taken)]
        report = resolver.resolve(raw["gene"].drop_duplicates(), to=to)
        gene_ids = pd.Series(report.gene_id, index=report.names)
        frame = pd.DataFrame(
            {
                "term": raw["term"],
                "gene_id": gene_ids.loc[raw["gene"].str.strip()].to_numpy(),
                "label": raw["label"],
                "split": raw["split"],
            }
        )
        frame = frame[frame["gene_id"] != 0]
        both = frame.groupby(["term", "gene_id"])["label"].transform("nunique") > 1
        contradictory = int(both.sum())
        # Folds (0, 1, ...) before the holdout (-1).
        frame = frame[~both].assign(late=frame["split"] < 0).sort_values("late", kind="stable")
        once = frame.drop_duplicates(["term", "gene_id"]).sort_index().drop(columns="late")
        return cls(
            name=path.name,
            frame=once.reset_index(drop=True).assign(taken=lambda rows: rows["term"].isin(taken)),
            given_splits=given_splits,
            report=report,
            selection=selection,
            repeated=len(frame) - len(once),
            contradictory=contradictory,
        )

    @cached_property
    def gene_ids(self) -> NDArray[np.int64]:
        """All genes of the file, ascending."""
        ids: NDArray[np.int64] = np.unique(self.frame["gene_id"].to_numpy(np.int64))
        return ids

    @property
    def terms(self) -> list[str]:
        """The terms that were taken, in the order of the file."""
        return list(dict.fromkeys(self.frame.loc[self.frame["taken"], "term"]))

    @property
    def about(self) -> dict[str, Any]:
        """What was done to the file: limits of drawn tasks, and rows left out."""
        limits = None if self.given_splits else vars(self.selection)
        return {"limits": limits, "repeated": self.repeated, "contradictory": self.contradictory}

    def among(self, universe: Iterable[int], *, at_least: int = 1) -> tuple[list[Task], dict[str, str]]:
        """Return the tasks over the genes of `universe`.

        Parameters
        ----------
        universe
            GeneIDs that may be used.
        at_least
            Genes on each side that cross-validation needs, for files without splits.

        Returns
        -------
        tasks
            In the order of the file.
        left_out
            Terms that cannot be asked, and why.
        """
        usable = np.intersect1d(self.gene_ids, np.fromiter(universe, np.int64))
        frame = self.frame[self.frame["taken"] & self.frame["gene_id"].isin(usable)]
        groups = dict(list(frame.groupby("term", sort=False)))
        # One order for all terms and every universe: a gene more or less does not draw all negatives anew.
        ranks = np.random.default_rng(self.selection.seed).permutation(len(self.gene_ids))
        rank = dict(zip(self.gene_ids.tolist(), ranks.tolist(), strict=True))
        tasks, left_out = [], {}
        for term in self.terms:
            rows = groups.get(term, frame.iloc[:0])
            if self.given_splits:
                rows = rows.sort_values("gene_id")
                task = Task(
                    term,
                    rows["gene_id"].to_numpy(np.int64),
                    rows["label"].to_numpy(bool),
                    rows["split"].to_numpy(np.int16),
                )
                reason = _unfit(task)
            else:
                task, reason = self._drawn(term, rows["gene_id"].to_numpy(np.int64), usable, rank, at_least)
            if reason:
                left_out[term] = reason
            else:
                tasks.append(task)
        return tasks, left_out

    def _drawn(
        self, term: str, members: NDArray[np.int64], usable: NDArray[np.int64], rank: dict[int, int], at_least: int
    ) -> tuple[Task, str]:
        limits = self.selection
        others = sorted(np.setdiff1d(usable, members).tolist(), key=rank.__getitem__)
        others = others[: limits.negatives] if limits.negatives else others
        gene_ids = np.union1d(members, np.array(others, np.int64))
        task = Task(term, gene_ids, np.isin(gene_ids, members))
        reason = ""
        if len(members) < max(limits.min_genes, at_least):
            reason = f"{len(members)} genes, fewer than {max(limits.min_genes, at_least)}"
        elif limits.max_genes and len(members) > limits.max_genes:
            reason = f"{len(members)} genes, more than {limits.max_genes}"
        elif len(others) < at_least:
            reason = f"{len(others)} genes are not in it, fewer than {at_least}"
        return task, reason


def _unfit(task: Task) -> str:
    """Say why a task with given splits cannot be asked, or nothing."""
    assert task.splits is not None
    folds = sorted(set(task.splits.tolist()))
    if HOLDOUT not in folds or len(folds) < 3:
        return "no usable gene is held out" if HOLDOUT not in folds else "fewer than two folds have usable genes"
    for fold in folds:
        of_fold = task.labels[task.splits == fold]
        if of_fold.all() or not of_fold.any():
            return f"{'the holdout' if fold == HOLDOUT else f'fold {fold + 1}'} has usable genes of one kind only"
    return ""


TERMS = TaskKind(
    name="terms",
    summary="genes of a term, told from others: a GMT, a table (term, gene), or (term, split, gene, result)",
    read=GeneTasks.read,
    score=score,
)
