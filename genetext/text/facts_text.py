"""What is known of a gene in the form of gene groups and Gene Ontology terms, told in our own words."""

from collections.abc import Collection, Iterable

import pyarrow.compute as pc

from genetext.errors import TextError
from genetext.text.snapshot import Snapshot
from genetext.text.template import Template

_LEAD = {"Function": "Activity", "Process": "Role in", "Component": "Place"}
# The three roots, and "protein binding": they are annotated to a gene when nothing better is known.
_UNTELLING_TERMS = frozenset({"GO:0008150", "GO:0003674", "GO:0005575", "GO:0005515"})


class FactSentences:
    """Sentences made of the gene groups and Gene Ontology terms of some genes.

    Parameters
    ----------
    snapshot
        Where the terms are.
    template
        How many of them, of which categories, by which evidence.
    gene_ids
        The genes, of the species and of human.

    Raises
    ------
    TextError
        The template asks for evidence codes, and the snapshot has none.
    """

    def __init__(self, snapshot: Snapshot, template: Template, gene_ids: Collection[int]) -> None:
        self._template = template
        self._categories = () if "go" in template.drop else template.go
        self._terms: dict[tuple[int, int], dict[str, list[str]]] = {}
        if not self._categories or not gene_ids:
            return
        wanted = (
            pc.field("gene_id").isin(sorted(gene_ids))
            & pc.field("category").isin(list(self._categories))
            & ~pc.field("go_id").isin(sorted(_UNTELLING_TERMS))
            & (pc.field("rank") >= 0)
        )
        if template.go_evidence:
            _check_evidence(snapshot)
            wanted &= pc.field("evidence").isin(list(template.go_evidence))
        else:
            # One more for each term that is passed over.
            wanted &= pc.field("rank") < template.max_terms + len(_UNTELLING_TERMS)
        columns = ["tax_id", "gene_id", "category", "rank", "term"]
        table = snapshot.table("go", columns=columns, filters=wanted)
        table = table.sort_by([(name, "ascending") for name in columns])
        for batch in table.to_batches(max_chunksize=8192):
            for tax_id, gene_id, category, _, term in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                terms = self._terms.setdefault((tax_id, gene_id), {}).setdefault(category, [])
                # Several rows (evidences) of one term follow each other.
                if len(terms) < template.max_terms and terms[-1:] != [term]:
                    terms.append(term)

    def of(self, tax_id: int, gene_id: int, groups: Iterable[str]) -> str:
        """Return the sentences about a gene, or an empty text."""
        parts = []
        families = [str(group) for group in groups][: self._template.max_terms] if self._template.gene_groups else []
        if families:
            parts.append(f"Family: {'; '.join(families)}.")
        terms = self._terms.get((tax_id, gene_id), {})
        parts += [f"{_LEAD[name]}: {'; '.join(terms[name])}." for name in self._categories if name in terms]
        return " ".join(parts)


def _check_evidence(snapshot: Snapshot) -> None:
    codes = set(snapshot.table("go", columns=["evidence"])["evidence"].unique().to_pylist()) - {"", None}
    if not codes:
        raise TextError(
            f"the Gene Ontology terms of {snapshot.path.name} have no evidence codes: fetch them from NCBI (gene2go), "
            f"or ask for no evidence"
        )
