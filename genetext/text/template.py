"""The template of a gene's text: which sections, which voices first, what is left out."""

import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from genetext import disk
from genetext.errors import TextError, first_ten
from genetext.text import sections
from genetext.text.sections import DEFAULT, Section

VERSION = 2
SOURCES = ("RefSeq", "OMIM", "Alliance")
"""Voices of summaries, from the one to prefer."""
GO_CATEGORIES = ("Function", "Process", "Component")
EXPERIMENTAL = ("EXP", "IDA", "IPI", "IMP", "IGI", "IEP", "HTP", "HDA", "HMP", "HGI", "HEP")
"""The Gene Ontology's evidence codes for experiments (geneontology.org/docs/guide-go-evidence-codes)."""
DROPPED = ("templates", "go", "phenotypes")
ORDERS = ("newest", "central", "given")
_DATE = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2})?)?")


@dataclass(frozen=True, kw_only=True)
class Template:
    """How a gene's text is put together.

    Attributes
    ----------
    sections
        What is in a text, in which order, and how long each part may be; see `genetext.text.sections`. Sections of the
        snapshot are `symbol`, `name`, `summary`, `facts` (gene groups and Gene Ontology terms) and `designations`
        (further names of the gene's product, those that say something); others are those of sources, such as
        `uniprot.function`. `ortholog.` before one means that of the one-to-one human ortholog.
    ranking
        Voices of summaries from the one to prefer; voices that are not named come after, by name.
    order
        Of several passages of a gene in one section, which come first: the `newest`, the most `central` (those whose
        words the others share), or as the source gives them. Undated ones come after dated ones, as they are given.
    drop
        What is left out, sentence by sentence: `templates` (written by a program out of annotations), `go` (Gene
        Ontology terms and the sentences made of them), `phenotypes` (what knock-outs, mutants and patients show). See
        `genetext.text.filters`.
    before
        Leave out what is dated at or after this (`2024-03`); what has no date stays.
    gene_groups
        Whether gene groups are among the facts.
    go
        The Gene Ontology categories among the facts.
    go_evidence
        Evidence codes that a term needs one of, or `experimental`; empty: any.
    max_terms
        How many terms at most per category, and how many gene groups, the most specific first.
    say_ortholog
        Whether a text with sections of the human ortholog says so in a sentence. Off by default, since that sentence
        would make all such genes alike; the columns `source`, `fallback` and `ortholog_gene_id` say it in any case.
    version
        Version of the wording; a change of it changes every digest.
    """

    sections: tuple[str, ...] = DEFAULT
    ranking: tuple[str, ...] = SOURCES
    order: str = "newest"
    drop: tuple[str, ...] = ()
    before: str = ""
    gene_groups: bool = True
    go: tuple[str, ...] = GO_CATEGORIES
    go_evidence: tuple[str, ...] = ()
    max_terms: int = 5
    say_ortholog: bool = False
    version: int = VERSION

    def __post_init__(self) -> None:
        for what, given, known in (
            ("GO category", self.go, GO_CATEGORIES),
            ("order of passages", (self.order,), ORDERS),
            ("kind of text to drop", self.drop, DROPPED),
        ):
            known_names(what, given, known)
        if self.max_terms < 1:
            raise TextError(
                f"max_terms is {self.max_terms}, it has to be 1 or more; to leave facts out name no section facts"
            )
        if self.before and not _DATE.fullmatch(self.before):
            raise TextError(f"before={self.before!r} is no date: write 2024, 2024-03 or 2024-03-31")
        if self.version != VERSION:
            raise TextError(f"the template has version {self.version}, this genetext composes version {VERSION}")
        # One way to write each template, so that equal texts have equal digests.
        evidence = tuple(
            code for name in self.go_evidence for code in (EXPERIMENTAL if name == "experimental" else (name,))
        )
        object.__setattr__(self, "sections", tuple(map(str, sections.parse(self.sections))))
        object.__setattr__(self, "ranking", tuple(dict.fromkeys(self.ranking)))
        object.__setattr__(self, "drop", tuple(name for name in DROPPED if name in self.drop))
        object.__setattr__(self, "go", tuple(name for name in GO_CATEGORIES if name in self.go))
        object.__setattr__(self, "go_evidence", tuple(sorted(set(evidence))))

    @cached_property
    def parts(self) -> tuple[Section, ...]:
        """The sections, read."""
        return sections.parse(self.sections)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all sections that a text may have."""
        return tuple(name for section in self.parts for name in section.alternatives)

    def to_json(self) -> dict[str, Any]:
        """Return the template as a JSON object."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Any) -> "Template":
        """Return the template that `to_json` wrote; raise `TextError` where it is not one."""
        names = set(cls.__dataclass_fields__)
        if isinstance(value, dict) and value.get("version") != VERSION:
            raise TextError(
                f"the texts were composed by version {value.get('version')} of the template, this genetext composes "
                f"version {VERSION}: build the index again"
            )
        if not isinstance(value, dict) or not set(value) <= names:
            raise TextError(f"not a text template: expected the keys {', '.join(sorted(names))}, found {value!r}")
        fields: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        try:
            return cls(**fields)
        except TypeError as error:
            raise TextError(f"not a text template: {error}, in {value!r}") from error

    @property
    def digest(self) -> str:
        """The sha256 of the template's canonical JSON."""
        return disk.sha256_json(self.to_json())


def known_names(what: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise a `TextError` naming what is known where one of `given` is not."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TextError(f"unknown {what} {first_ten(unknown)}; known are {', '.join(known)}")
