"""Sections (symbol, name, summary, ortholog's summary, facts, designations) -> one text per gene.

A text begins with a heading of symbol and name. Its content is the summary that the ranking puts first; where the gene
has none, the summary of its one-to-one human ortholog; where there is none either, facts (gene groups and its most
specific Gene Ontology terms) in our own words; else the name alone, if it says anything. Where they are asked for, the
designations that say more than the name stand at the end, which is where an encoder's window cuts. What was taken is
written down per gene. A gene without any of these has an empty text.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from genetext.errors import TextError, first_ten
from genetext.species import HUMAN
from genetext.text import hygiene
from genetext.text.designations import telling
from genetext.text.snapshot import Snapshot
from genetext.text.template import SECTIONS, SOURCES, Template, known_names

__all__ = ["COLUMNS", "SECTIONS", "SOURCES", "GeneTexts", "Template", "compose", "is_informative"]

COLUMNS = (
    *("gene_id", "id_tax_id", "symbol", "name", "synonyms", "ensembl_id", "gene_type", "text", "text_digest", "source"),
    *("fallback", "ortholog_gene_id", "provider", "text_date", "n_summaries", "n_words"),
)
"""Columns of `GeneTexts.frame`."""

_GO_LEAD = {"Function": "Activity", "Process": "Role in", "Component": "Place"}
# The three roots, and "protein binding": they are annotated to a gene when nothing better is known.
_UNTELLING_TERMS = frozenset({"GO:0008150", "GO:0003674", "GO:0005575", "GO:0005515"})
_UNTELLING_NAME = re.compile(
    r"^(?:(?:putative\s+)?uncharacteri[sz]ed\b|hypothetical\b|unknown\b|novel\s+(?:gene|protein|transcript)\b|RIKEN\s+cDNA\b"
    r"|predicted\s+(?:gene|pseudogene|protein)\b|(?:expressed|cDNA|DNA)\s+(?:sequence|segment)\b|DNA,?\s+segment\b"
    r"|LOC\d+|(?:zgc|si|im|wu|zmp|CG|KIAA)[:\d]|gene\s+model\s+\d+|EST\b|similar\s+to\s+(?:hypothetical|predicted)\b)"
    r"|\bopen\s+reading\s+frame\b|\bfamily\s+with\s+sequence\s+similarity\b|^(?:putative\s+)?protein\s+FAM\d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class GeneTexts:
    """One text per gene.

    Attributes
    ----------
    frame
        One row per gene, ordered by `gene_id`, indexed 0..n-1, with `COLUMNS`: `text` (empty where there is
        nothing to say), `text_digest` (sha256 of the text in UTF-8, empty for no text), `source` (`RefSeq` ...,
        `ortholog:RefSeq` ..., `facts`, `ortholog-facts`, `name`, `none`), `fallback` (whether the content is
        something else than a summary of the gene itself), `ortholog_gene_id` (nullable; the human gene whose text was
        used), `provider` and `text_date` of the summary, `n_summaries` (the gene's own that say something),
        `n_words` of the text.
    template
        How they were composed.
    """

    frame: pd.DataFrame
    template: Template

    @property
    def texts(self) -> dict[str, str]:
        """The distinct texts by their digest, in the order of their first gene; the empty text is not among them."""
        distinct = self.frame.loc[self.frame["text"] != "", ["text_digest", "text"]].drop_duplicates("text_digest")
        return dict(zip(distinct["text_digest"], distinct["text"], strict=True))

    @property
    def coverage(self) -> dict[str, int]:
        """How many genes there are, and how many have each kind of text; the kinds add up to `genes`."""
        kinds = self.frame["source"].map(_kind).value_counts()
        return {
            "genes": len(self.frame),
            **{kind: int(kinds.get(kind, 0)) for kind in ("summary", "ortholog", "facts", "name", "none")},
        }


@dataclass(frozen=True)
class _Summary:
    source: str
    text: str
    provider: str
    text_date: str


def compose(
    snapshot: Snapshot,
    template: Template | None = None,
    *,
    gene_types: Sequence[str] | None = ("protein-coding",),
    genes: Collection[int] | None = None,
) -> GeneTexts:
    """Compose one text for each gene of a snapshot.

    Parameters
    ----------
    snapshot
        What is written about the genes of a species.
    template
        How to put it together. Default: `Template()`.
    gene_types
        NCBI's types of gene to take, or None for all.
    genes
        GeneIDs to take, whatever their type; None for all genes of `gene_types`.

    Raises
    ------
    TextError
        A gene, gene type or source that the snapshot does not have; the message names those it has. Or designations are
        asked for, and it has none.
    """
    template = template or Template()
    tax_id = snapshot.species.tax_id
    table = _chosen_genes(snapshot, gene_types, genes)
    summaries = _ranked_summaries(snapshot, template)
    humans = _human_partners(snapshot) if "ortholog" in template.sections else {}
    listed = _designations(snapshot) if "designations" in template.sections else {}
    facts: _Facts | None = None
    if template.facts != "never":
        ids = table["gene_id"].tolist()
        if template.facts == "fallback" and "summary" in template.sections:
            ids = [gene_id for gene_id in ids if (tax_id, gene_id) not in summaries]
        facts = _Facts(snapshot, template, {*ids, *(humans[gene_id][0] for gene_id in ids if gene_id in humans)})

    rows = []
    columns = (table[column].tolist() for column in ("gene_id", "symbol", "name", "gene_groups"))
    for gene_id, symbol, name, groups in zip(*columns, strict=True):
        human_id, human_symbol, human_groups = humans.get(gene_id, (None, "", []))
        of_gene = summaries.get((tax_id, gene_id), [])
        of_human = summaries.get((HUMAN.tax_id, human_id), []) if human_id is not None else []
        used: _Summary | None = None
        content, source, from_human = "", "none", False
        if of_gene and "summary" in template.sections:
            used = of_gene[0]
            content, source = used.text, used.source
        elif of_human:
            used = of_human[0]
            content, source, from_human = used.text, f"ortholog:{used.source}", True
        if facts is not None and (template.facts == "always" or not content):
            sentences, label = facts.sentences(tax_id, gene_id, groups), "facts"
            # Facts of the human ortholog stand in where nothing is known of the gene, not beside its own summary.
            if human_id is not None and not sentences and (from_human or not content):
                sentences, label = facts.sentences(HUMAN.tax_id, human_id, human_groups), "ortholog-facts"
            if sentences and not content:
                source, from_human = label, label == "ortholog-facts"
            content = " ".join(part for part in (content, sentences) if part)
        informative = is_informative(name, symbol)
        more = telling(listed.get(gene_id, ()), name=name, symbol=symbol, informative=is_informative)
        text = _text(template, symbol, name if informative else "", content, more)
        if not content:
            source = "name" if more or (informative and "name" in template.sections) else "none"
            text = text if source == "name" else ""
        elif from_human and template.say_ortholog:
            text = f"{text} This is known of its human ortholog{' ' + human_symbol if human_symbol else ''}."
        digest = hashlib.sha256(text.encode()).hexdigest() if text else ""
        provider, date = (used.provider, used.text_date) if used else ("", "")
        ortholog_id, fallback = human_id if from_human else None, _kind(source) != "summary"
        rows.append((text, digest, source, fallback, ortholog_id, provider, date, len(of_gene), len(text.split())))
    frame = table.drop(columns=["ensembl_ids", "gene_groups"])
    frame["ensembl_id"] = [str(ids[0]) if len(ids) else "" for ids in table["ensembl_ids"]]
    types = {"ortholog_gene_id": "Int64", "n_summaries": "int32", "n_words": "int32", "fallback": "bool"}
    for place, column in enumerate(COLUMNS[7:]):
        frame[column] = pd.Series([row[place] for row in rows], dtype=types.get(column, "object"))
    return GeneTexts(frame[list(COLUMNS)], template)


def is_informative(name: str, symbol: str = "") -> bool:
    """Whether a gene's full name says anything about it.

    It does not where it is absent, repeats the symbol, or only numbers the locus or the sequence (`uncharacterized
    LOC100130705`, `RIKEN cDNA 1700001C02 gene`, `predicted gene 5493`, `chromosome 9 open reading frame 152`,
    `family with sequence similarity 83 member A`).
    """
    return bool(name) and name != "-" and name.lower() != symbol.lower() and not _UNTELLING_NAME.search(name)


class _Facts:
    """What is known of a gene in the form of gene groups and Gene Ontology terms, told in our own words."""

    def __init__(self, snapshot: Snapshot, template: Template, gene_ids: Collection[int]) -> None:
        self._template = template
        self._terms: dict[tuple[int, int], dict[str, list[str]]] = {}
        wanted = (
            pc.field("gene_id").isin(sorted(gene_ids))
            & pc.field("category").isin(list(template.go))
            & ~pc.field("go_id").isin(sorted(_UNTELLING_TERMS))
            & (pc.field("rank") >= 0)
            # One more for each term that is passed over.
            & (pc.field("rank") < template.max_terms + len(_UNTELLING_TERMS))
        )
        columns = ["tax_id", "gene_id", "category", "rank", "term"]
        table = snapshot.table("go", columns=columns, filters=wanted) if template.go and gene_ids else None
        if table is None:
            return
        table = table.sort_by([(name, "ascending") for name in columns])
        for batch in table.to_batches(max_chunksize=8192):
            for tax_id, gene_id, category, _, term in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                terms = self._terms.setdefault((tax_id, gene_id), {}).setdefault(category, [])
                # Several rows (evidences) of one term follow each other.
                if len(terms) < template.max_terms and terms[-1:] != [term]:
                    terms.append(term)

    def sentences(self, tax_id: int, gene_id: int, groups: Iterable[str]) -> str:
        """Return the sentences about a gene, or an empty text."""
        parts = []
        families = [str(group) for group in groups][: self._template.max_terms] if self._template.gene_groups else []
        if families:
            parts.append(f"Family: {'; '.join(families)}.")
        terms = self._terms.get((tax_id, gene_id), {})
        parts += [f"{_GO_LEAD[name]}: {'; '.join(terms[name])}." for name in self._template.go if name in terms]
        return " ".join(parts)


def _text(template: Template, symbol: str, name: str, content: str, more: Sequence[str]) -> str:
    heading = ": ".join(
        part for section, part in (("symbol", symbol), ("name", name)) if section in template.sections and part
    )
    if heading and not heading.endswith((".", "!", "?")):
        heading += "."
    also = f"Also called: {'; '.join(more)}." if more else ""
    return " ".join(part for part in (heading, content, also) if part)


def _kind(source: str) -> str:
    if source in {"facts", "ortholog-facts"}:
        return "facts"
    if source in {"name", "none"}:
        return source
    return "ortholog" if source.startswith("ortholog:") else "summary"


def _chosen_genes(snapshot: Snapshot, gene_types: Sequence[str] | None, genes: Collection[int] | None) -> pd.DataFrame:
    columns = ["gene_id", "id_tax_id", "symbol", "name", "synonyms", "ensembl_ids", "gene_type", "gene_groups"]
    table = snapshot.table("genes", columns=columns)
    if genes is not None:
        wanted = np.fromiter(sorted(set(genes)), np.int64)
        absent = np.setdiff1d(wanted, table["gene_id"].to_numpy())
        if len(absent):
            raise TextError(
                f"the snapshot of {snapshot.species.name} has no gene with the GeneID {first_ten(absent.tolist())}"
            )
        table = table.filter(pc.field("gene_id").isin(wanted.tolist()))
    elif gene_types is not None:
        known_names("gene type", gene_types, sorted(table["gene_type"].unique().to_pylist()))
        table = table.filter(pc.field("gene_type").isin(list(gene_types)))
    frame: pd.DataFrame = table.sort_by("gene_id").to_pandas()
    return frame


def _designations(snapshot: Snapshot) -> dict[int, list[str]]:
    """Return what NCBI lists of each gene, in its order."""
    table = snapshot.table("designations").sort_by([("gene_id", "ascending"), ("place", "ascending")])
    if not table.num_rows:
        raise TextError(
            f"the snapshot {snapshot.path.name} has no designations: it was made before genetext kept them, or its "
            f"source has none; fetch it again from NCBI, or leave the section out"
        )
    of_gene: dict[int, list[str]] = {}
    for gene_id, designation in zip(*(table[name].to_pylist() for name in ("gene_id", "designation")), strict=True):
        of_gene.setdefault(gene_id, []).append(designation)
    return of_gene


def _ranked_summaries(snapshot: Snapshot, template: Template) -> dict[tuple[int, int], list[_Summary]]:
    """Return the non-empty summaries of each (tax_id, gene_id), the preferred one first."""
    table = snapshot.table("summaries", columns=["gene_id", "tax_id", "source", "text", "provider", "text_date"])
    known_names("source", template.ranking, sorted({*SOURCES, *table["source"].unique().to_pylist()}))
    places = {name: place for place, name in enumerate(template.ranking)}
    of_gene: dict[tuple[int, int], list[_Summary]] = {}
    for batch in table.to_batches(max_chunksize=8192):
        for gene_id, tax_id, source, text, provider, date in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            if kept := hygiene.drop_templates(text) if template.drop_templates else text:
                of_gene.setdefault((tax_id, gene_id), []).append(_Summary(source, kept, provider, date))
    for several in of_gene.values():
        several.sort(key=lambda item: (places.get(item.source, len(places)), item.source, item.text))
    return of_gene


def _human_partners(snapshot: Snapshot) -> dict[int, tuple[int, str, list[str]]]:
    """Return for each gene with a one-to-one human ortholog its GeneID, symbol and gene groups."""
    table = snapshot.table(
        "orthologs",
        columns=["gene_id", "human_gene_id", "human_symbol", "human_gene_groups"],
        filters=pc.field("one_to_one"),
    )
    genes, humans, symbols, groups = (column.to_pylist() for column in table.columns)
    return dict(zip(genes, zip(humans, symbols, groups, strict=True), strict=True))
