"""The chapters of the report: what was matched, how well types were told apart, and what separates survivors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.index import GeneIndex
from genetext.priors import GenePriors

from . import figures, lowsample, report
from .interpret import GROUPS, Contrast
from .lowsample import Arm
from .report import Section
from .themes import Topics


def data(adata: Any, labels: NDArray[np.object_], *, name: str) -> Section:
    """Say what the cells are, with a table of the types, the most frequent first."""
    counts = pd.Series(labels.astype(str)).value_counts()
    depth = np.asarray(adata.X.sum(axis=1)).ravel()
    table = pd.DataFrame({"type": counts.index, "cells": counts.to_numpy(), "share": counts.to_numpy() / len(labels)})
    counted = (
        f"{name}: {adata.n_obs:,} cells, {adata.n_vars:,} genes, {len(counts):,} types; the largest has "
        f"{counts.iloc[0] / len(labels):.1%} of the cells, the smallest {counts.iloc[-1] / len(labels):.2%}. A cell "
        f"has {np.median(depth):,.0f} counts (median), and {np.median(np.diff(adata.X.indptr)):,.0f} genes."
    )
    return Section("The cells").text(counted).table(table, "Types", digits=4)


def matched(priors: GenePriors, index: GeneIndex) -> Section:
    """Say which genes got a vector, and what their text was made of."""
    section = Section("What was matched")
    section.text(
        "Each gene is looked up by its name among NCBI's genes, and takes the vector of the text that is written about "
        "it. Most mouse genes have no text of their own; they borrow that of their one-to-one human ortholog, which is "
        "counted here."
    )
    assert priors.report is not None
    section.plain(str(priors.report))
    kinds = report.text_kinds(index.genes, priors.gene_ids[priors.mask])
    return section.table(kinds, f"What the vectors were made from ({index.path.parent.name}/{index.path.name})")


def compared(table: pd.DataFrame, arms: Sequence[Arm], *, title: str) -> tuple[Section, list[str]]:
    """Show the low-sample curves with their controls; return the chapter and the verdict on the prior."""
    section = Section("How well types are told apart, and what the controls say")
    section.text(
        f"Each way of embedding sees m cells of each type with their labels (rare types: half of their cells at most) "
        f"and then names {table['n_test'].iloc[0]:,} other cells by their nearest neighbours. All see the same cells, "
        f"and the same genes: those that vary most, chosen without labels. Means of "
        f"{table['repeat'].nunique()} repeats, with 95 % intervals over them; in macro-F1 every type weighs the same."
    )
    section.lines([f"{arm.name}: {arm.note}." for arm in arms])
    names = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
    for family in dict.fromkeys(arm.family for arm in arms if arm.family):
        drawn = table[table["arm"].isin([arm.name for arm in arms if arm.family in {family, ""}])]
        shown = {called: lowsample.summarise(drawn, score) for score, called in names.items()}
        section.figure(
            figures.curves(shown, title=title),
            f"Accuracy and macro-F1 against the number of labelled cells per type ({family}, beside PCA)",
        )
    for score, called in (*names.items(), ("rare_f1", f"macro-F1 of types below {lowsample.RARE:.0%} of the cells")):
        if table[score].notna().any():
            section.table(_wide(lowsample.summarise(table, score)), f"{called}, mean [95 % interval]")
    verdicts = [_judged(section, table, arm, arms) for arm in arms if arm.role == "text"]
    return section, [_headline(table, arms), *verdicts]


def _judged(section: Section, table: pd.DataFrame, arm: Arm, arms: Sequence[Arm]) -> str:
    """Add to a chapter what a real prior gained over its controls and over PCA; return the conclusion."""
    controls = [other.name for other in arms if other.role == "control" and other.family == arm.family]
    rivals = [*controls, *(other.name for other in arms if other.role == "baseline")]
    verdict = f"{arm.name}: {lowsample.conclusion(table, arm.name, controls)}"
    section.lines([verdict, *lowsample.verdict(table, arm.name, {name: name for name in rivals})])
    apart = lowsample.differences(table, arm.name)
    apart = apart[apart["against"].isin(rivals)].assign(m=lambda rows: rows["m"].replace(0, "all").astype(str))
    section.table(apart.drop(columns="role"), f"{arm.name}: macro-F1 minus that of others, repeat by repeat")
    return verdict


def _headline(table: pd.DataFrame, arms: Sequence[Arm]) -> str:
    """Say how far the first arm, its family without a prior, and the baselines get with fewest and with most cells."""
    bare = [arm.name for arm in arms if arm.family == arms[0].family and arm.name.endswith("no prior")]
    of = [arms[0].name, *bare, *(arm.name for arm in arms if arm.role == "baseline")]
    mean = table.pivot_table(index="arm", columns="m", values="macro_f1")
    few, many = mean.columns.min(), mean.columns.max()
    scores = [f"{mean.loc[name, few]:.2f} and {mean.loc[name, many]:.2f} ({name})" for name in of]
    return f"With {few} and with {many} labelled cells per type, macro-F1 is {', '.join(scores)}."


def _wide(summary: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm and one column per m, best at the largest m first."""
    shown = [
        f"{row.mean:.3f}" if np.isnan(row.low) else f"{row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]"
        for row in summary.itertuples()
    ]
    wide = summary.assign(shown=shown).set_index(["arm", "m"])["shown"].unstack("m")  # noqa: PD010 one value each
    last = summary[summary["m"] == summary["m"].max()].set_index("arm")["mean"]
    wide = wide.loc[last.sort_values(ascending=False, kind="stable").index]
    wide.columns = [f"m = {m}" for m in wide.columns]
    return wide.reset_index().rename(columns={"arm": "way of embedding"})


def maps(
    panels: dict[str, NDArray[np.float32]],
    known: NDArray[np.object_],
    given: NDArray[np.object_],
    *,
    of: str,
    m: int,
    title: str,
) -> Section:
    """Show cells in a plane, which types are taken for which, and each type's own score."""
    from sklearn.metrics import precision_recall_fscore_support

    section = Section("Maps of the cells, and which types are taken for which")
    section.text(
        f"The model here is {of}, with up to {m} labelled cells of each type. All cells shown are unseen ones."
    )
    shown = figures.plane(panels, known, title=title)
    section.figure(shown, "Unseen cells; the numbers are those of the types")
    kinds = figures.in_order(sorted(set(known.astype(str)) | set(given.astype(str))))
    section.figure(
        figures.confusion(known, given, kinds, title=title), "Share of a type's cells (row) by the type given"
    )
    precision, recall, f1, n = precision_recall_fscore_support(
        known.astype(str), given.astype(str), labels=kinds, zero_division=0.0
    )
    table = pd.DataFrame({"type": kinds, "cells tested": n, "precision": precision, "recall": recall, "F1": f1})
    return section.table(table.sort_values("F1", ignore_index=True), "Each type, the hardest first", digits=2)


def topics(fitted: Topics, *, title: str) -> Section:
    """Show topics with their genes and the nearest gene texts, the types they are of, and what controls give."""
    section = Section("Topics of the cells, and the texts that are nearest to them")
    section.text(
        "A topic is a set of genes that go up together; each cell is a mixture of topics, learnt without labels. A "
        "topic is named by the genes that it raises most, and by the genes whose texts lie nearest to theirs. text_z "
        "tells how much more alike the texts of its genes are than those of genes at random (in standard deviations): "
        "where it is low, the texts beside a topic mean nothing."
    )
    section.table(
        fitted.compared,
        "The same model with a permuted prior and with none: purity and NMI compare the leading topic with the types, "
        "text_z is the median over topics, by the true texts in each case",
    )
    prior, permuted = (fitted.compared.set_index("prior").loc[name] for name in ("prior", "permuted"))
    section.text(
        "Gene embeddings start from the texts where there is a prior, so a higher text_z with the true prior is "
        f"built in: {prior['text_z']:.1f} here, against {permuted['text_z']:.1f} where texts were dealt out anew. That "
        f"topics follow types better because of the text would show in NMI: {prior['nmi']:.3f} against "
        f"{permuted['nmi']:.3f} (one fit each, so a small difference means nothing)."
    )
    names = [f"{row.topic}: {', '.join(row.genes.split('; ')[:3])}" for row in fitted.table.itertuples()]
    section.figure(
        figures.topics(fitted.by_type, names, title=title), "Mean share of each topic in the cells of a type"
    )
    return section.table(fitted.table, "Topics in use, the most frequent first", digits=2)


def separated(contrast: Contrast | None, *, title: str, n: int = 20) -> Section:
    """Show genes and sentences that separate resilient from vulnerable types."""
    section = Section("What separates resilient from vulnerable types")
    if contrast is None:
        return section.text(
            "The types of these data are not among those of which survival after optic nerve crush is known here (or "
            "only one of the two groups is). Give a table with the columns type and survival: --survival FILE."
        )
    section.table(contrast.types, "Types whose survival after optic nerve crush is taken as known")
    section.text(
        f"The mean vectors of the two groups are {contrast.distance:.4f} apart. Of {len(contrast.placebo):,} ways to "
        f"divide the same types into groups of these sizes, {contrast.p:.1%} are at least as far apart: "
        + (
            "these groups differ more than such groups do by chance."
            if contrast.p <= 0.05
            else "groups that have nothing to do with survival differ as much, so the genes below tell types apart and "
            "cannot be called genes of survival."
        )
    )
    section.figure(
        figures.contrast(contrast.genes[contrast.genes["score"] > 0], title=title),
        "Genes with the highest scores: weight in one group above that in the other, times the cosine between the "
        "gene's text and the direction from one group to the other",
    )
    for group in GROUPS:
        part = contrast.genes[(contrast.genes["more_in"] == group) & (contrast.genes["score"] > 0)].head(n)
        shown = part[["gene", "cosine"]].assign(**_thousandths(part, "difference", "score"))
        section.table(shown, f"More in {group} types")
        sentences = contrast.sentences[contrast.sentences["group"] == group].head(n // 2)
        shown = sentences[["gene", "sentence"]].assign(**_thousandths(sentences, "score"))
        section.table(shown, f"What is written about them: the sentences that point furthest to {group} types")
    return section


def _thousandths(table: pd.DataFrame, *columns: str) -> dict[str, pd.Series]:
    """Return columns of small numbers times 1,000, under names that say so."""
    return {f"{column} x 1,000": 1000 * table[column] for column in columns}


def enriched(table: pd.DataFrame | None, *, source: str, n: int = 15) -> Section:
    """Show pathways that the genes of `separated` are rich in."""
    section = Section("Pathways of these genes")
    if table is None:
        return section.text(
            "No gene sets were given. Get a GMT file with mouse symbols (for example GO or Reactome from "
            "https://www.gsea-msigdb.org or https://maayanlab.cloud/Enrichr) and add --gmt FILE."
        )
    section.text(
        f"Over-representation among the genes with the highest scores, against all genes of the data that have a "
        f"vector (hypergeometric test; false discovery rate over all sets tested). Gene sets: {source}."
    )
    for group, part in table.groupby("topic", sort=False):
        shown = part.head(n)[["term", "overlap", "n", "p", "fdr", "genes"]]
        section.table(shown, f"More in {group} types: {(part['fdr'] <= 0.05).sum()} sets with FDR <= 0.05", digits=4)
    return section
