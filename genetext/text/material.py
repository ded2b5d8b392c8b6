"""What a snapshot and the layers over it have on genes, by section."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from genetext.errors import TextError, first_ten
from genetext.species import HUMAN
from genetext.text import filters
from genetext.text.designations import telling
from genetext.text.facts_text import FactSentences
from genetext.text.layer import Passage, TextLayer
from genetext.text.sections import OF_THE_SNAPSHOT, own_name
from genetext.text.snapshot import Snapshot
from genetext.text.template import SOURCES, Template, known_names

_UNTELLING_NAME = re.compile(
    r"^(?:(?:putative\s+)?uncharacteri[sz]ed\b|hypothetical\b|unknown\b|novel\s+(?:gene|protein|transcript)\b|RIKEN\s+cDNA\b"
    r"|predicted\s+(?:gene|pseudogene|protein)\b|(?:expressed|cDNA|DNA)\s+(?:sequence|segment)\b|DNA,?\s+segment\b"
    r"|LOC\d+|(?:zgc|si|im|wu|zmp|CG|KIAA)[:\d]|gene\s+model\s+\d+|EST\b|similar\s+to\s+(?:hypothetical|predicted)\b)"
    r"|\bopen\s+reading\s+frame\b|\bfamily\s+with\s+sequence\s+similarity\b|^(?:putative\s+)?protein\s+FAM\d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Gene:
    """A gene whose text is composed.

    Attributes
    ----------
    tax_id, gene_id
        Which it is.
    symbol, name
        What it is called; the name is empty where it says nothing.
    groups
        Its gene groups.
    human
        Its one-to-one human ortholog, or None.
    """

    tax_id: int
    gene_id: int
    symbol: str
    name: str
    groups: tuple[str, ...] = ()
    human: "Gene | None" = None


class Material:
    """What a snapshot and the layers over it have on some genes and their human orthologs.

    Parameters
    ----------
    snapshot, layers
        Where the text is.
    template
        Which sections are wanted, and what is left out.
    table
        Rows of the snapshot's table `genes`.

    Raises
    ------
    TextError
        Neither the snapshot nor a layer has a section or voice that the template names.
    """

    def __init__(
        self, snapshot: Snapshot, layers: Sequence[TextLayer], template: Template, table: pd.DataFrame
    ) -> None:
        names = {own_name(name) for name in template.names}
        self._table, self._tax_id = table, snapshot.species.tax_id
        self._humans = _humans(snapshot) if any(of_human for _, of_human in names) else {}
        sections = {name for name, _ in names}
        ids: dict[int, list[int]] = {self._tax_id: table["gene_id"].tolist()}
        partners = [self._humans[gene].gene_id for gene in ids[self._tax_id] if gene in self._humans]
        ids[HUMAN.tax_id] = [*ids.get(HUMAN.tax_id, ()), *partners]
        self._layered = _Layered(layers, sections - set(OF_THE_SNAPSHOT), ids, template)
        self._summaries = _ranked_summaries(snapshot, template)
        self._listed = _designations(snapshot) if "designations" in sections else {}
        of_facts = {gene for several in ids.values() for gene in several} if "facts" in sections else set()
        self._facts = FactSentences(snapshot, template, of_facts)

    @property
    def genes(self) -> Iterator[Gene]:
        """The genes, in the order of the table."""
        columns = (self._table[column].tolist() for column in ("gene_id", "symbol", "name", "gene_groups"))
        for gene_id, symbol, name, groups in zip(*columns, strict=True):
            said = name if is_informative(name, symbol) else ""
            yield Gene(self._tax_id, gene_id, symbol, said, tuple(groups), self._humans.get(gene_id))

    def n_summaries(self, gene: Gene) -> int:
        """How many summaries of the gene itself say something."""
        return len(self._summaries.get((gene.tax_id, gene.gene_id), ()))

    def passages(self, section: str, gene: Gene) -> list[Passage]:
        """Return what a section has on a gene (after `ortholog.`, on its human ortholog), the best first."""
        name, of_human = own_name(section)
        subject = gene.human if of_human else gene
        if subject is None:
            return []
        key = subject.tax_id, subject.gene_id
        match name:
            case "symbol":
                text = subject.symbol
            case "name":
                text = subject.name
            case "summary":
                return self._summaries.get(key, [])[:1]
            case "facts":
                text = self._facts.of(*key, subject.groups)
            case "designations":
                listed = self._listed.get(subject.gene_id, ())
                more = telling(listed, name=subject.name, symbol=subject.symbol, informative=is_informative)
                text = f"Also called: {'; '.join(more)}." if more else ""
            case _:
                return self._layered.passages(name, *key)
        return [Passage(text)] if text else []


def is_informative(name: str, symbol: str = "") -> bool:
    """Whether a gene's full name says anything about it.

    It does not where it is absent, repeats the symbol, or only numbers the locus or the sequence (`uncharacterized
    LOC100130705`, `RIKEN cDNA 1700001C02 gene`, `predicted gene 5493`, `chromosome 9 open reading frame 152`,
    `family with sequence similarity 83 member A`).
    """
    return bool(name) and name != "-" and name.lower() != symbol.lower() and not _UNTELLING_NAME.search(name)


class _Layered:
    """The passages of layers, by section, species and gene."""

    def __init__(
        self, layers: Sequence[TextLayer], names: Collection[str], ids: dict[int, list[int]], template: Template
    ) -> None:
        self._known = {layer.name: layer.sections for layer in layers}
        offered = [f"{source}.{part}" for source, parts in self._known.items() for part in parts]
        if unknown := sorted(name for name in names if name not in self._known and name not in offered):
            known = ", ".join([*OF_THE_SNAPSHOT, *self._known, *offered])
            raise TextError(f"unknown section {first_ten(unknown)}; known are {known}")
        self._passages: dict[tuple[str, int], dict[tuple[int, str], list[Passage]]] = {}
        for layer in layers:
            wanted = {
                part
                for name in names
                for source, parts in [self._parts(name)]
                if source == layer.name
                for part in parts
            }
            if wanted:
                chosen = _chosen(layer, wanted, ids.get(layer.tax_id, ()), template)
                self._passages[layer.name, layer.tax_id] = chosen

    def passages(self, name: str, tax_id: int, gene_id: int) -> list[Passage]:
        source, parts = self._parts(name)
        of_source = self._passages.get((source, tax_id), {})
        return [passage for part in parts for passage in of_source.get((gene_id, part), ())]

    def _parts(self, name: str) -> tuple[str, tuple[str, ...]]:
        """Return a source and those of its sections that a name means."""
        source, _, part = name.partition(".")
        return source, (part,) if part else self._known[source]


def _chosen(
    layer: TextLayer, sections: Collection[str], gene_ids: Iterable[int], template: Template
) -> dict[tuple[int, str], list[Passage]]:
    """Return what the template leaves of a layer's passages, in its order."""
    if "go" in template.drop and layer.manifest["source"]["from_go"]:
        return {}
    chosen = {}
    for key, given in layer.passages(sections, gene_ids).items():
        cleaned = (
            passage._replace(text=filters.without(passage.text, template.drop))
            for passage in given
            if not filters.is_newer(passage, template.before)
        )
        if passages := [passage for passage in cleaned if passage.text]:
            chosen[key] = passages
    if template.order == "newest":
        return {key: sorted(several, key=lambda passage: passage.date, reverse=True) for key, several in chosen.items()}
    return most_central_first(chosen) if template.order == "central" else chosen


def most_central_first(passages: dict[tuple[int, str], list[Passage]]) -> dict[tuple[int, str], list[Passage]]:
    """Order each gene's passages by how much of their words the others share.

    A passage's centrality is the product of its unit TF-IDF vector with the sum of those of all passages of its gene
    and section (centroid score of Radev et al., "Centroid-based summarization of multiple documents", 2004); equal
    ones stay as they are given.
    """
    several = {key: given for key, given in passages.items() if len(given) > 2}
    if not several:
        return passages
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [passage.text for given in several.values() for passage in given]
    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit_transform(texts)
    ordered, start = dict(passages), 0
    for key, given in several.items():
        block = vectors[start : start + len(given)]
        start += len(given)
        centrality = block @ np.asarray(block.sum(axis=0)).ravel()
        ordered[key] = [given[at] for at in np.argsort(-centrality.round(9), kind="stable")]
    return ordered


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


def _ranked_summaries(snapshot: Snapshot, template: Template) -> dict[tuple[int, int], list[Passage]]:
    """Return the summaries of each (tax_id, gene_id) that say something, the preferred voice first."""
    table = snapshot.table("summaries", columns=["gene_id", "tax_id", "source", "text", "provider", "text_date"])
    known_names("source", template.ranking, sorted({*SOURCES, *table["source"].unique().to_pylist()}))
    places = {name: place for place, name in enumerate(template.ranking)}
    of_gene: dict[tuple[int, int], list[Passage]] = {}
    for batch in table.to_batches(max_chunksize=8192):
        for gene_id, tax_id, source, text, provider, date in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            passage = Passage(filters.without(text, template.drop), date, source, provider)
            if passage.text and not filters.is_newer(passage, template.before):
                of_gene.setdefault((tax_id, gene_id), []).append(passage)
    for several in of_gene.values():
        several.sort(key=lambda passage: (places.get(passage.label, len(places)), passage.label, passage.text))
    return of_gene


def _humans(snapshot: Snapshot) -> dict[int, Gene]:
    """Return for each gene with a one-to-one human ortholog that ortholog."""
    columns = ["gene_id", "human_gene_id", "human_symbol", "human_name", "human_gene_groups"]
    table = snapshot.table("orthologs", columns=columns, filters=pc.field("one_to_one"))
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return {
        gene_id: Gene(HUMAN.tax_id, human_id, symbol, name if is_informative(name, symbol) else "", tuple(groups or ()))
        for gene_id, human_id, symbol, name, groups in rows
    }
