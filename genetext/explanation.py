"""explain: which genes, and which sentences of their text, pull a group of cells towards its place.

A cell's vector is `y_i = sum_j ā_ij v_j` with `ā_ij = a_ij / sum_M |a_ij|` (`genetext.cells.weighting`). The place of a
group g against all other cells r is the difference of their mean vectors, which is linear in the genes:

    D = mean_g(y) - mean_r(y) = sum_j d_j v_j,      d_j = mean_g(ā_.j) - mean_r(ā_.j)

With `u = D / |D|`, gene j contributes `d_j <v_j - c, u>`, and the contributions of all genes add up to `|D|`. The
centre c is the mean vector of all cells, which takes nothing away, since the `d_j` add up to 0; without it, what all
texts about genes have in common would count for and against every gene. For weightings with negative weights the
`d_j` do not add up to 0, and c is 0.

A sentence s of gene j scores `d_j <s - c, u>`: what the gene would contribute if that sentence were all its text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from genetext import disk
from genetext.cells.job import Job, Options
from genetext.cells.product import Plan, Weights
from genetext.cells.weighting import Background, Floats
from genetext.encoding.paid import Confirm, Payment
from genetext.errors import CellsError, IndexMismatch, first_ten
from genetext.labels import kinds_of, labels_of
from genetext.progress import Progress

if TYPE_CHECKING:
    from genetext.index import GeneIndex
    from genetext.priors import GenePriors


@dataclass(frozen=True)
class Explanation:
    """Contributions of genes, and of sentences, to the places of groups of cells.

    Attributes
    ----------
    genes
        One row per group and matched gene, the largest contributions of each group first: `group`, `gene`, `gene_id`,
        `weight_in`, `weight_out` (mean share of a cell's weight, in the group and in the others), `pull`
        (`<v - c, u>`), `contribution` (they add up to the group's `distance`), `share` (of the distance).
    groups
        One row per group: `group`, `n_cells` (those with a vector), `distance` (`|D|`).
    directions
        `(n_groups, dim) float64`: `u` of each group, unit length (zeros where the distance is 0).
    sentences
        One row per group, gene and sentence, the largest `score` first; None where no index was given.
    """

    genes: pd.DataFrame
    groups: pd.DataFrame
    directions: Floats = field(repr=False)
    sentences: pd.DataFrame | None = field(default=None, repr=False)

    def top(self, group: Any, n: int = 20) -> pd.DataFrame:
        """Return the `n` genes that contribute most to the place of a group."""
        name = str(group)
        if name not in set(self.groups["group"]):
            raise CellsError(f"there is no group {name!r}: there are {first_ten(list(self.groups['group']))}")
        top: pd.DataFrame = self.genes[self.genes["group"] == name].head(n).reset_index(drop=True)
        return top

    def plot(self, groups: Sequence[str] | None = None, *, n: int = 15) -> Any:
        """Draw the contributions of the `n` first genes of each group as bars.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        CellsError
            matplotlib is not installed, or there is no such group.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise CellsError("plots need matplotlib: pip install matplotlib") from error
        shown = list(self.groups["group"]) if groups is None else list(groups)
        wide = min(len(shown), 4)
        high = -(-len(shown) // max(wide, 1))
        figure = Figure(figsize=(3.2 * wide, (0.22 * n + 0.8) * high), layout="constrained")
        axes = figure.subplots(high, wide, squeeze=False).ravel()
        for axis, group in zip(axes, shown, strict=False):
            top = self.top(group, n).iloc[::-1]
            more = (top["weight_in"] > top["weight_out"]).to_numpy()
            axis.barh(np.arange(len(top)), top["share"], color=np.where(more, "tab:blue", "tab:gray"))
            axis.set_yticks(np.arange(len(top)), top["gene"])
            axis.set_title(str(group))
            axis.set_xlabel("share of the distance")
            axis.axvline(0, color="black", linewidth=0.5)
        for axis in axes[len(shown) :]:
            axis.set_axis_off()
        if len(shown):
            figure.suptitle("blue: more in the group, gray: less", fontsize="small")
        return figure


def explain(
    adata: Any,
    priors: "GenePriors",
    groupby: str,
    *,
    groups: Sequence[Any] | None = None,
    index: "GeneIndex | str | Path | None" = None,
    n_genes: int = 20,
    weighting: str = "mean",
    top_n: int | None = None,
    expression: str = "auto",
    layer: str | None = None,
    target_sum: float = 1e4,
    background: Background | None = None,
    block_size: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    confirm: bool | Confirm = False,
    max_cost: float | None = None,
    root: Path | None = None,
) -> Explanation:
    """Say which genes, and which sentences of their text, pull groups of cells away from all other cells.

    Parameters
    ----------
    adata
        AnnData, in memory, backed or on Dask arrays (then read block by block).
    priors
        Aligned to `adata`.
    groupby
        Column of `obs`. Cells without a label there (`genetext.labels`), and cells without a vector, are left out.
    groups
        Explain these groups only. The others remain what they are compared with. Default: all, in the order of the
        column.
    index
        The index that the priors come from, to score sentences; its encoder is loaded. Their vectors are kept in the
        vector store, so that no sentence is encoded twice.
    n_genes
        Sentences are scored for so many genes of each group, those that contribute most.
    weighting, top_n, expression, layer, target_sum, background, block_size, threads, progress
        As in `embed_cells`; progress is also told of the stage `encode`, in sentences.
    confirm, max_cost
        What may be sent to a paid encoder, see `genetext.encoding.paid.Payment`. Default: nothing.
    root
        The cache root.

    Raises
    ------
    CellsError
        There is no such column or group, or fewer than two groups have cells with vectors; or as in `embed_cells`.
    IndexMismatch
        The priors come from another index, or their vectors were transformed, so that sentences cannot be compared.
    CostLimit
        The encoder is paid, sentences are not in the store, and nothing allows to send them.
    EncoderError
        The encoder cannot be loaded, or failed.
    """
    chosen = Options(weighting, top_n, expression, layer, target_sum)
    of_cell = labels_of(adata, groupby, what="groupby")
    labels = pd.Categorical(of_cell, categories=kinds_of(adata.obs[groupby], of_cell))
    asked = list(labels.categories) if groups is None else list(map(str, groups))
    if unknown := [group for group in asked if group not in labels.categories]:
        raise CellsError(
            f"obs[{groupby!r}] has no group {first_ten(unknown)}: it has {first_ten(list(labels.categories))}"
        )
    opened = None if index is None else _same_index(priors, index, root)
    job = Job.of(adata, priors, chosen, background=background)
    how: dict[str, Any] = {"block_size": block_size, "threads": threads, "progress": progress}
    n_cells, means = _mean_weights(job, labels, how)
    present = np.flatnonzero(n_cells)
    if len(present) < 2:
        raise CellsError(
            f"obs[{groupby!r}] has {len(present)} groups of cells with a vector: it takes two to tell one from the rest"
        )
    vectors = job.priors.vectors[job.priors.mask].astype(np.float64)
    names, ids = job.priors.names[job.priors.mask], job.priors.gene_ids[job.priors.mask]
    everything = n_cells @ means
    centre = np.zeros(vectors.shape[1]) if _signed(job) else everything / n_cells.sum() @ vectors
    tables, summary, directions = [], [], []
    for group in asked:
        at = labels.categories.get_loc(group)
        if not n_cells[at]:
            raise CellsError(f"no cell of group {group!r} has a vector: there is nothing to explain")
        outside = (everything - n_cells[at] * means[at]) / (n_cells.sum() - n_cells[at])
        difference = means[at] - outside
        place = difference @ vectors
        distance = float(np.linalg.norm(place))
        direction = place / distance if distance else place
        pull = (vectors - centre) @ direction
        contribution = difference * pull
        tables.append(
            pd.DataFrame(
                {
                    "group": group,
                    "gene": names,
                    "gene_id": ids,
                    "weight_in": means[at],
                    "weight_out": outside,
                    "pull": pull,
                    "contribution": contribution,
                    "share": contribution / distance if distance else contribution,
                }
            ).sort_values("contribution", ascending=False, kind="stable")
        )
        summary.append({"group": group, "n_cells": int(n_cells[at]), "distance": distance})
        directions.append(direction)
    sentences = None
    if opened is not None:
        payment = Payment(confirm=confirm, max_cost=max_cost)
        encoding: dict[str, Any] = {"root": root, "payment": payment, "progress": progress}
        sentences = _sentences(opened, tables, directions, centre, n_genes, **encoding)
    genes = pd.concat(tables, ignore_index=True)
    return Explanation(genes, pd.DataFrame(summary), np.stack(directions), sentences)


def _signed(job: Job) -> bool:
    return job.options.kind.signed and job.options.top_n is None


def _mean_weights(job: Job, labels: pd.Categorical, how: dict[str, Any]) -> tuple[NDArray[np.int64], Floats]:
    """Return, for each group, its number of cells with a vector and their mean `ā`: `(n_groups, n_matched)`."""
    codes = np.asarray(labels.codes)
    n_groups, n_genes = len(labels.categories), int(job.priors.mask.sum())

    def work(plan: Plan, start: int, tile: Any) -> tuple[NDArray[np.intp], Floats, Any]:
        weights: Weights = plan.weigh(tile)
        group = codes[start : start + len(weights.status)]
        cells = np.flatnonzero((weights.status == 0) & (group >= 0))
        inverse = 1 / weights.absolute[cells]
        groups = sparse.csr_array((inverse, (group[cells], cells)), shape=(n_groups, len(group)))
        values = sparse.csr_array((weights.values, weights.genes, weights.starts), shape=(len(group), n_genes))
        return (
            np.bincount(group[cells], minlength=n_groups),
            np.asarray(groups.sum(axis=1), np.float64).ravel(),
            groups @ values,
        )

    n_cells, inverses, sums = np.zeros(n_groups, np.int64), np.zeros(n_groups), np.zeros((n_groups, n_genes))
    plan, parts = job.over_cells(work, **how)
    for _, (n, inverse, part) in parts:
        n_cells += n
        inverses += inverse
        sums += part.toarray()
    if plan.subtracts:
        sums -= inverses[:, None] * plan.terms.offset
    return n_cells, sums / np.maximum(n_cells, 1)[:, None]


def _same_index(priors: "GenePriors", index: "GeneIndex | str | Path", root: Path | None) -> "GeneIndex":
    from genetext.index import GeneIndex

    opened = index if isinstance(index, GeneIndex) else GeneIndex.open(index, root=root)
    if priors.fingerprint != opened.fingerprint:
        raise IndexMismatch(
            f"the priors come from {priors.source} ({priors.fingerprint[:12]}), the index is {opened.path} "
            f"({opened.fingerprint[:12]}): sentences can only be compared within one index"
        )
    places = pd.Series(np.arange(len(opened)), index=opened.gene_ids).reindex(priors.gene_ids[priors.mask])
    if places.isna().any() or not np.array_equal(
        priors.vectors[priors.mask], opened.matrix[places.to_numpy(dtype=np.int64)]
    ):
        raise IndexMismatch(
            f"the priors are {priors.description}: sentences are encoded as the index was, so they cannot be compared "
            f"with transformed vectors. Explain with the priors as opened and aligned"
        )
    return opened


def _sentences(
    index: "GeneIndex",
    tables: list[pd.DataFrame],
    directions: list[Floats],
    centre: Floats,
    n_genes: int,
    **encoding: Any,
) -> pd.DataFrame:
    from genetext.text.sentences import split

    texts = dict(zip(index.genes["gene_id"], index.genes["text"], strict=True))
    said: list[tuple[int, int, str]] = []  # the table, the row of the table, a sentence of its gene
    for place, table in enumerate(tables):
        for row, gene_id in enumerate(table["gene_id"].iloc[:n_genes]):
            said += [(place, row, sentence) for sentence in split(str(texts.get(gene_id) or ""))]
    known = _encoded(index, list(dict.fromkeys(sentence for _, _, sentence in said)), **encoding)
    rows = []
    for place, row, sentence in said:
        if sentence not in known:  # no encoder knows a word of it
            continue
        gene = tables[place].iloc[row]
        pull = float((known[sentence] - centre) @ directions[place])
        score = pull * float(gene["weight_in"] - gene["weight_out"])
        rows.append((place, gene["group"], gene["gene"], gene["gene_id"], sentence, pull, score))
    columns = ["place", "group", "gene", "gene_id", "sentence", "pull", "score"]
    frame = pd.DataFrame(rows, columns=columns).sort_values(["place", "score"], ascending=[True, False], kind="stable")
    return frame[columns[1:]].reset_index(drop=True)


def _encoded(
    index: "GeneIndex",
    sentences: list[str],
    *,
    root: Path | None,
    payment: Payment,
    progress: Progress | None,
) -> dict[str, Floats]:
    """Encode sentences as the texts of the genes were, leaving out those that the index knows no word of.

    They go through the vector store, as the texts of a build do: none is encoded, or paid for, a second time.
    """
    import hashlib

    from genetext.encoding.run import encode
    from genetext.encoding.store import VectorStore

    if not sentences:
        return {}
    root = root or disk.cache_dir()
    by_digest = {hashlib.sha256(sentence.encode()).hexdigest(): sentence for sentence in sentences}
    blocks = []
    with VectorStore(root / "vectors") as store:
        for encoder in index.embedding.encoders:
            if encoder.corpus_bound:  # fitted already: it must not be fitted to the sentences
                blocks.append(encoder.encode(sentences).vectors)
                continue
            done = encode(
                encoder, sentences, list(by_digest), store=store, root=root, payment=payment, progress=progress
            )
            blocks.append(done.encoded.vectors)
    vectors = index.embedding.project(blocks).astype(np.float64)
    return {sentence: vector for sentence, vector in zip(sentences, vectors, strict=True) if vector.any()}
