"""Sections (symbol, name, summary, facts, those of other sources) -> one text per gene.

A text is made of sections in the order of the template, each the first of its alternatives that the gene has, and no
longer than its budget. Symbol and name are its heading; what follows is content. What was taken, from whom, and how
much was cut is written down per gene. A gene of which nothing is known but its symbol has an empty text.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from genetext.errors import TextError, first_ten
from genetext.text import budget
from genetext.text.layer import TextLayer
from genetext.text.material import Gene, Material, is_informative
from genetext.text.sections import own_name
from genetext.text.snapshot import Snapshot
from genetext.text.template import SOURCES, Template, known_names

__all__ = ["COLUMNS", "KINDS", "SOURCES", "GeneTexts", "SectionUse", "Template", "compose", "is_informative"]

COLUMNS = (
    *("gene_id", "id_tax_id", "symbol", "name", "synonyms", "ensembl_id", "gene_type", "text", "text_digest", "source"),
    *("sections", "fallback", "ortholog_gene_id", "provider", "text_date", "n_summaries", "n_words", "n_words_cut"),
)
"""Columns of `GeneTexts.frame`."""
KINDS = ("summary", "ortholog", "facts", "other", "name", "none")
"""What the content of a text begins with: a summary, that of the ortholog, facts, another source's; or only a name."""
_TYPES = {
    "ortholog_gene_id": "Int64",
    "fallback": "bool",
    **dict.fromkeys(("n_summaries", "n_words", "n_words_cut"), "int32"),
}
_NAMES = frozenset({"symbol", "name", "designations"})


@dataclass(frozen=True)
class SectionUse:
    """What a section gave to the texts.

    Attributes
    ----------
    genes
        How many genes have it in their text.
    words
        How many words of it are in the texts.
    genes_cut, words_cut
        In how many texts it was cut to its budget, and by how many words.
    """

    genes: int
    words: int
    genes_cut: int
    words_cut: int


@dataclass(frozen=True)
class GeneTexts:
    """One text per gene.

    Attributes
    ----------
    frame
        One row per gene, ordered by `gene_id`, indexed 0..n-1, with `COLUMNS`: `text` (empty where there is nothing to
        say), `text_digest` (sha256 of the text in UTF-8, empty for no text), `source` (of the first content: `RefSeq`
        ..., `facts`, `uniprot.function` ..., with `ortholog:` before it where it is that of the human ortholog,
        `ortholog-facts`; `name` or `none`), `sections` (names of those in the text, comma-separated), `fallback`
        (whether the first content is something else than a summary of the gene itself), `ortholog_gene_id` (nullable;
        the human gene whose text was used), `provider` and `text_date` of the first content, `n_summaries` (the gene's
        own that say something), `n_words` of the text, `n_words_cut` by budgets.
    template
        How they were composed.
    use
        What each section gave, in the order of the template.
    layers
        What lay over the snapshot.
    """

    frame: pd.DataFrame
    template: Template
    use: Mapping[str, SectionUse] = field(default_factory=dict)
    layers: tuple[TextLayer, ...] = ()

    @property
    def texts(self) -> dict[str, str]:
        """The distinct texts by their digest, in the order of their first gene; the empty text is not among them."""
        distinct = self.frame.loc[self.frame["text"] != "", ["text_digest", "text"]].drop_duplicates("text_digest")
        return dict(zip(distinct["text_digest"], distinct["text"], strict=True))

    @property
    def coverage(self) -> dict[str, int]:
        """How many genes there are, and how many by what their content begins with (`KINDS`), which add up to them."""
        kinds = Counter(map(_kind, self.frame["sections"], self.frame["source"]))
        return {"genes": len(self.frame)} | {kind: kinds[kind] for kind in KINDS}


def compose(
    snapshot: Snapshot,
    template: Template | None = None,
    *,
    layers: Sequence[TextLayer] = (),
    gene_types: Sequence[str] | None = ("protein-coding",),
    genes: Collection[int] | None = None,
) -> GeneTexts:
    """Compose one text for each gene of a snapshot.

    Parameters
    ----------
    snapshot
        Which genes there are, and what NCBI writes about them.
    template
        How to put it together. Default: `Template()`.
    layers
        What other sources say about the genes, and (for sections of the ortholog) about those of human.
    gene_types
        NCBI's types of gene to take, or None for all.
    genes
        GeneIDs to take, whatever their type; None for all genes of `gene_types`.

    Raises
    ------
    TextError
        A gene, gene type, section or voice that neither the snapshot nor a layer has; the message names those that they
        have. Or designations or evidence codes are asked for, and the snapshot has none.
    """
    template = template or Template()
    table = _chosen_genes(snapshot, gene_types, genes)
    material = Material(snapshot, layers, template, table)
    rows, usage = [], _Usage()
    for gene in material.genes:
        text, taken = _text(gene, material, template)
        usage.add(taken)
        content = next((piece for piece in taken if piece.is_content), None)
        if content is None:
            source = "name" if {"name", "designations"} & {piece.section for piece in taken} else "none"
            text = text if source == "name" else ""
        else:
            source = content.source
        rows.append(
            {
                "text": text,
                "text_digest": hashlib.sha256(text.encode()).hexdigest() if text else "",
                "source": source,
                "sections": ",".join(piece.section for piece in taken),
                "fallback": content is None or content.section != "summary",
                "ortholog_gene_id": gene.human.gene_id
                if gene.human and any(piece.of_human for piece in taken)
                else None,
                "provider": content.provider if content else "",
                "text_date": content.date if content else "",
                "n_summaries": material.n_summaries(gene),
                "n_words": len(text.split()),
                "n_words_cut": sum(piece.cut for piece in taken),
            }
        )
    frame = table.drop(columns=["ensembl_ids", "gene_groups"])
    frame["ensembl_id"] = [str(ids[0]) if len(ids) else "" for ids in table["ensembl_ids"]]
    for column in COLUMNS[COLUMNS.index("text") :]:
        frame[column] = pd.Series([row[column] for row in rows], dtype=_TYPES.get(column, "object"))
    return GeneTexts(frame[list(COLUMNS)], template, usage.by_section(template), tuple(layers))


@dataclass(frozen=True)
class _Piece:
    """What a section gave to a gene's text."""

    section: str
    text: str
    cut: int  # words left out for the budget
    label: str  # whose voice the first passage is
    provider: str
    date: str

    @property
    def of_human(self) -> bool:
        return own_name(self.section)[1]

    @property
    def is_content(self) -> bool:
        return own_name(self.section)[0] not in _NAMES

    @property
    def source(self) -> str:
        """What stands in the column `source` where a text's content begins with this."""
        name, of_human = own_name(self.section)
        if name == "facts":
            return "ortholog-facts" if of_human else "facts"
        return f"{'ortholog:' if of_human else ''}{self.label or name}"


class _Usage:
    """Counts what each section gave to the texts."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}

    def add(self, pieces: Sequence[_Piece]) -> None:
        for piece in pieces:
            counts = self._counts.setdefault(piece.section, [0, 0, 0, 0])
            for at, value in enumerate((1, len(piece.text.split()), bool(piece.cut), piece.cut)):
                counts[at] += value

    def by_section(self, template: Template) -> dict[str, SectionUse]:
        return {name: SectionUse(*self._counts.get(name, (0, 0, 0, 0))) for name in template.names}


def _text(gene: Gene, material: Material, template: Template) -> tuple[str, list[_Piece]]:
    """Put the sections of a gene together; also return what each gave."""
    pieces: list[_Piece] = []
    for section in template.parts:
        for name in section.alternatives:
            if passages := material.passages(name, gene):
                text, cut = budget.within([passage.text for passage in passages], section.words)
                pieces.append(_Piece(name, text, cut, passages[0].label, passages[0].provider, passages[0].date))
                break
    parts = [piece.text for piece in pieces]
    if [piece.section for piece in pieces[:2]] == ["symbol", "name"]:
        parts[:2] = [": ".join(parts[:2])]
    if parts and not pieces[-1].is_content:
        parts.append("")  # a heading that nothing follows ends with a stop, too
    text = budget.joined(parts).strip()
    if template.say_ortholog and gene.human and any(piece.of_human for piece in pieces):
        text = f"{text} This is known of its human ortholog{' ' + gene.human.symbol if gene.human.symbol else ''}."
    return text, pieces


def _kind(sections: str, source: str) -> str:
    content = next((name for name in sections.split(",") if name and own_name(name)[0] not in _NAMES), None)
    if content is None:
        return source
    name, of_human = own_name(content)
    if name == "facts":
        return "facts"
    return "ortholog" if of_human else "summary" if name == "summary" else "other"


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
