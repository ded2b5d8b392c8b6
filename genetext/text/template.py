"""The template of a gene's text: which sections, which sources first, which facts."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from genetext import disk
from genetext.errors import TextError, first_ten

VERSION = 1
SECTIONS = ("symbol", "name", "summary", "ortholog", "facts", "designations")
"""Parts that a text can have."""
DEFAULT_SECTIONS = SECTIONS[:-1]
SOURCES = ("RefSeq", "OMIM", "Alliance")
"""Sources of summaries, from the one to prefer."""
FACTS = ("fallback", "always", "never")
GO_CATEGORIES = ("Function", "Process", "Component")


@dataclass(frozen=True, kw_only=True)
class Template:
    """How a gene's text is put together.

    Attributes
    ----------
    sections
        Which of `symbol`, `name`, `summary`, `ortholog`, `facts` and `designations` may go into a text; their order in
        it is fixed. Designations are further names of the gene's product, those that say something; not a default.
    ranking
        Sources of summaries from the one to prefer; sources that are not named come after, by name.
    drop_templates
        Leave out the sentences that a program wrote out of annotations (see `hygiene.drop_templates`).
    facts
        When facts are used: as a `fallback` where there is no summary, `always`, or `never`.
    gene_groups
        Whether gene groups are among the facts.
    go
        The Gene Ontology categories among the facts; `()` keeps what is derived from GO out of evaluations on GO.
    max_terms
        How many terms at most per category, and how many gene groups, the most specific first.
    say_ortholog
        Whether a text taken from the human ortholog says so in a sentence. Off by default, since that sentence would
        make all such genes alike; the columns `source`, `fallback` and `ortholog_gene_id` say it in any case.
    version
        Version of the wording; a change of it changes every digest.
    """

    sections: tuple[str, ...] = DEFAULT_SECTIONS
    ranking: tuple[str, ...] = SOURCES
    drop_templates: bool = False
    facts: str = "fallback"
    gene_groups: bool = True
    go: tuple[str, ...] = GO_CATEGORIES
    max_terms: int = 5
    say_ortholog: bool = False
    version: int = VERSION

    def __post_init__(self) -> None:
        for what, given, known in (
            ("section", self.sections, SECTIONS),
            ("GO category", self.go, GO_CATEGORIES),
            ("choice of facts", (self.facts,), FACTS),
        ):
            known_names(what, given, known)
        if self.max_terms < 1:
            raise TextError(
                f"max_terms is {self.max_terms}, it has to be 1 or more; to leave facts out say facts='never'"
            )
        if self.version != VERSION:
            raise TextError(f"the template has version {self.version}, this genetext composes version {VERSION}")
        # One way to write each template, so that equal texts have equal digests.
        facts = self.facts if "facts" in self.sections else "never"
        chosen = [name for name in SECTIONS if name in self.sections and (name != "facts" or facts != "never")]
        object.__setattr__(self, "facts", facts)
        object.__setattr__(self, "sections", tuple(chosen))
        object.__setattr__(self, "ranking", tuple(dict.fromkeys(self.ranking)))
        object.__setattr__(self, "go", tuple(name for name in GO_CATEGORIES if name in self.go))

    def to_json(self) -> dict[str, Any]:
        """Return the template as a JSON object."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Any) -> "Template":
        """Return the template that `to_json` wrote; raise `TextError` where it is not one."""
        names = set(cls.__dataclass_fields__)
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
