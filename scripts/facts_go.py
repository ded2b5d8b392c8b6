"""Which terms of the Gene Ontology say most about a gene: the most specific ones, ranked."""

import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genetext.text.snapshot import SCHEMAS
from scripts.facts_inputs import rows_of

TERMS_PER_CATEGORY = 6
# Says of a gene that it binds some protein, which nearly every gene does; the Gene Ontology advises against using it.
UNINFORMATIVE = frozenset({"GO:0005515"})
CATEGORIES = {"BP": "Process", "MF": "Function", "CC": "Component"}
# Where one term has several evidence codes, the first of these is kept: experiments, then people, then programs.
EVIDENCE = (
    *("EXP", "IDA", "IPI", "IMP", "IGI", "IEP", "HTP", "HDA", "HMP", "HGI", "HEP"),
    *("IBA", "IBD", "IKR", "IRD", "TAS", "IC", "ISS", "ISO", "ISA", "ISM", "IGC", "RCA", "NAS", "IEA"),
)


@dataclass(frozen=True)
class Ontology:
    """Terms of the Gene Ontology: id -> (term, category), and id -> ids it is_a or is part_of."""

    terms: Mapping[str, tuple[str, str]]
    parents: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, path: Path) -> "Ontology":
        """Read go-basic.obo or GO.sqlite. "Regulates" is left out: what regulates a process is not a kind of it."""
        return cls._read_obo(path) if path.suffix == ".obo" else cls._read_sqlite(path)

    @classmethod
    def _read_obo(cls, path: Path) -> "Ontology":
        terms: dict[str, tuple[str, str]] = {}
        above: dict[str, frozenset[str]] = {}
        for stanza in path.read_text(encoding="utf-8").split("\n\n"):
            if not stanza.lstrip().startswith("[Term]") or "is_obsolete: true" in stanza:
                continue
            lines = [line.partition(": ")[::2] for line in stanza.splitlines()]
            tags = dict(lines)
            # The name's last word is the category: biological_process, molecular_function, cellular_component.
            terms[tags["id"]] = (tags["name"], tags["namespace"].rpartition("_")[2].capitalize())
            above[tags["id"]] = frozenset(
                value.removeprefix("part_of ").split()[0]
                for tag, value in lines
                if tag == "is_a" or (tag == "relationship" and value.startswith("part_of "))
            )
        # Within one category, as in GO.sqlite: a function is part of a process, and says something else than it.
        return cls(terms, {x: frozenset(y for y in ys if terms[y][1] == terms[x][1]) for x, ys in above.items()})

    @classmethod
    def _read_sqlite(cls, path: Path) -> "Ontology":
        parents: dict[str, set[str]] = defaultdict(set)
        with sqlite3.connect(path) as connection:
            named = connection.execute("select go_id, term, ontology from go_term order by go_id")
            terms = {go_id: (term, CATEGORIES[kind]) for go_id, term, kind in named if kind in CATEGORIES}
            for kind in CATEGORIES:
                pairs = connection.execute(
                    f"select child.go_id, parent.go_id from go_{kind.lower()}_parents as edge "
                    "join go_term as child on child._id = edge._id "
                    "join go_term as parent on parent._id = edge._parent_id "
                    "where edge.relationship_type in ('isa', 'part of')"
                )
                for child, parent in pairs:
                    if parent in terms:
                        parents[child].add(parent)
        return cls(terms, {go_id: frozenset(above) for go_id, above in parents.items()})

    def ancestors(self) -> dict[str, frozenset[str]]:
        """Return for each term all the terms above it, itself not among them."""
        found: dict[str, frozenset[str]] = {}

        def above(go_id: str) -> frozenset[str]:
            if go_id not in found:
                direct = self.parents.get(go_id, frozenset())
                found[go_id] = direct.union(*(above(parent) for parent in direct))
            return found[go_id]

        for go_id in {*self.terms, *self.parents}:
            above(go_id)
        return found


def most_specific(annotated: Iterable[str], ancestors: Mapping[str, frozenset[str]]) -> set[str]:
    """Return the annotated terms of one gene that have no descendant among them."""
    terms = set(annotated)
    covered = {above for go_id in terms for above in ancestors.get(go_id, ())}
    return terms - covered


def information(annotations: Mapping[int, Iterable[str]], ancestors: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """Return the information content of each term in bits: -log2 of the share of genes with it or a term below it."""
    counts: Counter[str] = Counter()
    for terms in annotations.values():
        counts.update({above for go_id in terms for above in (go_id, *ancestors.get(go_id, ()))})
    return {go_id: math.log2(len(annotations) / count) for go_id, count in counts.items()}


def read_annotations(path: Path, tax_id: int) -> Iterator[tuple[int, str, str]]:
    """Yield (GeneID, GO id, evidence) of org.Hs.eg.db or of NCBI's gene2go, without NOT and without ND (no data)."""
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as connection:
            for kind in CATEGORIES:
                query = f"select gene_id, go_id, evidence from go_{kind.lower()} join genes using (_id)"
                for gene_id, go_id, evidence in connection.execute(query):
                    if evidence != "ND":
                        yield int(gene_id), go_id, evidence
        return
    for row in rows_of(path):
        negated = "NOT" in row["Qualifier"].split("|")[0].split()
        if row["#tax_id"] == str(tax_id) and row["Evidence"] != "ND" and not negated:
            yield int(row["GeneID"]), row["GO_ID"], row["Evidence"]


def go_table(rows: Iterable[tuple[int, str, str]], ontology: Ontology, *, tax_id: int, genes: set[int]) -> pd.DataFrame:
    """Choose and rank the most specific terms of each gene; columns as in the table `go`."""
    annotations: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for gene_id, go_id, evidence in rows:
        if gene_id in genes and go_id in ontology.terms and go_id not in UNINFORMATIVE:
            annotations[gene_id][go_id].add(evidence)
    ancestors = ontology.ancestors()
    bits = information(annotations, ancestors)
    strength = {code: place for place, code in enumerate(EVIDENCE)}
    table = []
    for gene_id, evidences in sorted(annotations.items()):
        leaves = most_specific(evidences, ancestors)
        strongest = {
            go_id: min(codes, key=lambda code: (strength.get(code, 99), code)) for go_id, codes in evidences.items()
        }
        specific = sorted(leaves, key=lambda go_id: (-bits[go_id], strength.get(strongest[go_id], 99), go_id))
        # Much studied genes have dozens of terms, the rarest of them curiosities. What several kinds of evidence say
        # is what the gene is known for; what only a program inferred goes first.
        support = {go_id: len(codes - {"IEA"}) for go_id, codes in evidences.items()}
        for category in CATEGORIES.values():
            here = [go_id for go_id in specific if ontology.terms[go_id][1] == category]
            chosen = set(sorted(here, key=lambda go_id: -support[go_id])[:TERMS_PER_CATEGORY])
            for rank, go_id in enumerate(go_id for go_id in here if go_id in chosen):
                term = ontology.terms[go_id][0]
                table.append((gene_id, tax_id, go_id, term, category, strongest[go_id], "", rank))
    return pd.DataFrame(table, columns=SCHEMAS["go"].names)
