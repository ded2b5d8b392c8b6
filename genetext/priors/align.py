"""From anybody's gene names to rows of vectors: a match of the names, joined on GeneID."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genetext.errors import PriorsError, first_ten
from genetext.names import snapshots
from genetext.names.columns import NameColumn, candidates, strings
from genetext.names.options import NameOptions
from genetext.names.report import NAME, NO_GENE, NO_TEXT, MatchReport, best_of
from genetext.names.resolver import Resolvers, resolve
from genetext.names.rules import is_missing
from genetext.names.tables import UNKNOWN
from genetext.priors.base import Missing, Priors, fingerprint_of, refuse_missing
from genetext.species import Species
from genetext.text.snapshot import Snapshot

P = TypeVar("P", bound=Priors)
SECOND_NAME = "second name"
_log = logging.getLogger("genetext")


def align(priors: P, data: Any, options: NameOptions, *, missing: Missing, orthologs: bool) -> P:
    """Put the vectors of `priors` into the order of `data`; see `GenePriors.align`."""
    if missing not in ("mask", "error", "mean", "zero"):
        raise PriorsError(f"missing={missing!r}: mask, error, mean or zero")
    columns = candidates(data, column=options.column)
    if priors.species and any(column.names for column in columns):
        recorded = priors.manifest["species"]
        species = Species(recorded["tax_id"], recorded["name"], recorded["latin"])
        digest = (priors.manifest.get("snapshot") or {}).get("digest")
        built_from = snapshots.with_digest(digest, species, root=options.root)
        reports = Resolvers(replace(options, to=species, target=built_from)).resolve_columns(columns)
        if not orthologs and (other := next((r for r in reports if r.species != r.target), None)) is not None:
            raise PriorsError(
                f"the data are of {other.species} ({other.guessed or 'as asked'}), the vectors of {species.name}: "
                f"align with orthologs=True, or use vectors of {species.name}"
            )
    else:
        reports = [_letters_only(column) for column in columns]
    joined = {report.column: _join(priors, report) for report in reports}
    report = best_of([report for report, _ in joined.values()])
    aligned = _gathered(priors, report, joined[report.column][1], missing)
    if hasattr(data, "var_names"):
        aligned = replace(aligned, var_names=np.array(data.var_names, dtype=object))
    _refuse(aligned, missing, options.min_match)
    return aligned.filled()


def own_vectors(
    names: Sequence[str],
    vectors: NDArray[Any],
    *,
    species: str | int | Species | None,
    source: str,
    snapshot: Snapshot | None,
) -> dict[str, Any]:
    """Return the fields of priors of anybody's own vectors, copied; see `GenePriors.from_arrays`."""
    texts = strings(names)
    array = np.array(vectors, np.float32, order="C")
    if array.ndim != 2 or len(array) != len(texts):
        raise PriorsError(f"{len(texts):,} names need vectors of shape ({len(texts)}, dim), not {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise PriorsError(f"{len(bad):,} vectors are not finite: {first_ten([texts[row] for row in bad])}")
    times = pd.Series(texts, dtype=object).value_counts()
    twice = [str(name) for name, number in times.items() if number > 1]
    if twice:
        raise PriorsError(f"each name may stand once: {first_ten(sorted(twice))} stand more often")
    fields: dict[str, Any] = {
        "names": np.array(texts, object),
        "vectors": array,
        "mask": np.ones(len(texts), bool),
        "gene_ids": np.full(len(texts), NO_GENE, np.int64),
        "status": np.full(len(texts), NAME, object),
        "source": source,
        "fingerprint": fingerprint_of(texts, array),
        "manifest": {"format": "arrays"},
    }
    if species is not None:
        match = resolve(texts, species, snapshot=snapshot)
        first = [rows[0] for rows in match.shared_rows.values()]
        fields["gene_ids"][first] = match.gene_id[first]
        second = np.setdiff1d(np.flatnonzero(match.mask), first)
        if len(second):
            _log.warning(
                "%s of %s are second names of genes that others name more surely, and take no part: %s",
                *(f"{len(second):,}", source, first_ten(list(fields["names"][second]))),
            )
        fields["mask"][second], fields["status"][second], fields["vectors"][second] = False, SECOND_NAME, 0
        known = snapshots.find_species(species)
        fields["manifest"]["species"] = {"tax_id": known.tax_id, "name": known.name, "latin": known.latin}
    return fields


def _letters_only(column: NameColumn) -> MatchReport:
    """Report names that mean no gene to anybody, to be joined letter by letter."""
    n = len(column.names)
    names = np.array([*column.names, None], object)[:-1]
    candidates_ = np.empty(n, object)
    candidates_[:] = [()] * n
    blank: dict[str, Any] = {name: np.full(n, "", object) for name in ("symbol", "via", "reason", "note")}
    ids = np.full(n, NO_GENE, np.int64)
    return MatchReport(
        names=names,
        **blank,
        gene_id=ids,
        own_gene_id=ids.copy(),
        status=np.full(n, UNKNOWN, object),
        candidates=candidates_,
        mask=np.zeros(n, bool),
        species="",
        target="",
        column=column.label,
    )


def _join(priors: Priors, report: MatchReport) -> tuple[MatchReport, NDArray[np.int64]]:
    """Return the report with what has a vector, and for each name the row of that, -1 where there is none.

    Names are joined by GeneID; those of vectors without one, letter by letter.
    """
    distinct = priors.distinct[0]
    has_id = priors.gene_ids[distinct] != NO_GENE
    with_id, without_id = distinct[has_id], distinct[~has_id]
    rows = _rows(with_id, pd.Index(priors.gene_ids[with_id]), report.gene_id)
    status = np.array(report.status, object)
    status[(rows < 0) & (report.gene_id != NO_GENE)] = NO_TEXT
    by_letters = _rows(without_id, pd.Index(priors.names[without_id]), report.names)
    by_letters[[is_missing(name) for name in report.names]] = -1
    named = (rows < 0) & (by_letters >= 0)
    rows[named], status[named] = by_letters[named], NAME
    types = (priors.manifest.get("text") or {}).get("gene_types")
    left_out = f"of another type than {' or '.join(types)}, or nothing is known" if types else ""
    return replace(report, status=status, mask=rows >= 0, source=priors.source, left_out=left_out), rows


def _rows(rows: NDArray[np.int64], index: "pd.Index[Any]", values: NDArray[Any]) -> NDArray[np.int64]:
    places = index.get_indexer(pd.Index(values))
    return np.append(rows, -1)[places].astype(np.int64)  # a place of -1 is the last one


def _gathered(priors: P, report: MatchReport, rows: NDArray[np.int64], missing: Missing) -> P:
    vectors = np.zeros((len(rows), priors.dim), np.float32)
    vectors[report.mask] = priors.vectors[rows[report.mask]]
    return replace(
        priors,
        names=report.names.copy(),
        vectors=vectors,
        mask=report.mask.copy(),
        gene_ids=report.gene_id.copy(),
        status=report.status.copy(),
        steps=(*priors.steps, f"align({report.column}, missing={missing})"),
        missing=missing,
        report=report,
        var_names=None,
    )


def _refuse(aligned: Priors, missing: Missing, min_match: float | None) -> None:
    if not len(aligned) or aligned.control == "without":  # the control says nothing of any gene, and is meant to
        return
    assert aligned.report is not None
    aligned.report.demand(min_match)
    if missing == "error":
        refuse_missing(aligned, why='Leave them out, or align with missing="mask"')
    if not aligned.n_matched:
        raise PriorsError(
            f"no gene of the data has a vector, so these priors say nothing about it. Is the species right, and are "
            f"the names where they were looked for?\n{aligned.report}"
        )
