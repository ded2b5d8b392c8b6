"""CellTypes: the types that cells may be, and what is written about each.

Types come as a list of names, as names with definitions, from a text file of either, or as terms of an ontology: a JSON
file as OBO Graphs has it (`graphs[].nodes[]`), or a mapping from term to `label`, `description` and `synonyms`, plain
or gzipped. A term is asked for by its label, one of its synonyms or its id.
"""

import difflib
import gzip
import json
import logging
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genetext.errors import CellsError, first_ten
from genetext.labels import means_no_label

log = logging.getLogger("genetext")

TEMPLATES = ("{}", "{} marker gene", "A gene expressed in {}", "This gene is specifically expressed by {}")
"""A name is asked about in these ways, since the texts it is compared with are about genes, not about cells."""
_MAX_SYNONYMS = 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# What a type does *not* have must not pull it towards the genes named there.
_NEGATED = (
    re.compile(r"\([^()]*\bnegative\b[^()]*\)", re.IGNORECASE),
    re.compile(
        r",?\s*\b(?:(?:and|but|which|that)\s+)?(?:is|are|be|being)?\s*(?:lineage\s+)?"
        r"(?:negative\s+for|lacks?|lacking|does\s+not\s+express|do\s+not\s+express)\b[^.;()]*",
        re.IGNORECASE,
    ),
    re.compile(r"\b[A-Za-z0-9/]+-negative\b,?", re.IGNORECASE),
)


@dataclass(frozen=True)
class CellTypes:
    """Names of types and their texts.

    Attributes
    ----------
    names
        Each once, in the order given. Those that mean that a cell has no type (`Unknown`, `nan`, an empty string) are
        left out, and a warning says so.
    definitions
        One per name, empty where none is known.
    synonyms
        Other names of each.
    terms
        The ontology's id of each, empty where there is none.
    """

    names: tuple[str, ...]
    definitions: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, ...], ...] = ()
    terms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.names)
        for name, empty in (("definitions", ""), ("synonyms", ()), ("terms", "")):
            given = getattr(self, name) or (empty,) * n
            if len(given) != n:
                raise CellsError(f"{n} types need as many {name}: here are {len(given)}")
            object.__setattr__(self, name, tuple(given))
        if not n:
            raise CellsError("there are no types: give one name at least")
        if no_text := [repr(name) for name in self.names if not isinstance(name, str) or _CONTROL.search(name)]:
            raise CellsError(f"names of types are text without control characters, these are not: {first_ten(no_text)}")
        if twice := [name for name, count in Counter(self.names).items() if count > 1]:
            raise CellsError(f"types that stand more than once: {first_ten(twice)}")
        kept = [position for position, name in enumerate(self.names) if not means_no_label(name)]
        if len(kept) == n:
            return
        absent = [repr(name) for name in self.names if means_no_label(name)]
        if not kept:
            raise CellsError(
                f"there are no types: {first_ten(absent)} mean that a cell has none; give one name at least"
            )
        log.warning("left out of the types: %s mean that a cell has none", first_ten(absent))
        for name in ("names", "definitions", "synonyms", "terms"):
            object.__setattr__(self, name, tuple(getattr(self, name)[position] for position in kept))

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, types: "CellTypes | Mapping[str, str] | Sequence[str] | str | Path") -> "CellTypes":
        """Take types as they come.

        Parameters
        ----------
        types
            A list of names, a mapping from name to definition, or the path of a text file (`read`).
        """
        if isinstance(types, CellTypes):
            return types
        if isinstance(types, str | Path):
            return cls.read(types)
        if isinstance(types, Mapping):
            return cls(tuple(map(_name, types)), tuple(str(text) for text in types.values()))
        return cls(tuple(map(_name, types)))

    @classmethod
    def read(cls, path: str | Path) -> "CellTypes":
        """Read a text file with a `name`, or a `name<TAB>definition`, on each line; `#` opens a line of comment."""
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CellsError(f"{path} cannot be read as a text file of types: {error}") from error
        rows = [line.split("\t", 1) for line in lines if line.strip() and not line.startswith("#")]
        if not rows:
            raise CellsError(f"{path} names no type: write one name, or name<TAB>definition, on each line")
        names = tuple(row[0].strip() for row in rows)
        return cls(names, tuple(row[1].strip() if len(row) > 1 else "" for row in rows))

    def with_ontology(self, path: str | Path) -> "CellTypes":
        """Look the names up in an ontology, and add the definition, the synonyms and the label it has for each.

        Letter case and a plural `s` do not matter. A definition given before is kept.

        Raises
        ------
        CellsError
            A name is neither a label, nor a synonym, nor an id there, or may be several terms. The message names the
            labels that come nearest.
        """
        terms = read_ontology(path)
        labels, synonyms = _names_of(terms)
        matches, unknown, ambiguous = [], [], []
        for name in self.names:
            folded = _fold(name)
            candidates = [name] if name in terms else labels.get(folded) or synonyms.get(folded) or []
            if len(candidates) == 1:
                matches.append(candidates[0])
            elif candidates:
                ambiguous.append(f"{name} ({' or '.join(terms[term].label for term in candidates)})")
            else:
                near = difflib.get_close_matches(folded, labels, n=2, cutoff=0.6)
                nearest = ", ".join(terms[labels[label][0]].label for label in near)
                unknown.append(f"{name} (nearest: {nearest or 'none'})")
        if unknown:
            raise CellsError(
                f"no term of {Path(path).name} for {first_ten(unknown)}: use a label, a synonym or an id of "
                f"the ontology"
            )
        if ambiguous:
            raise CellsError(f"more than one term of {Path(path).name} for {first_ten(ambiguous)}: name it by its id")
        found_terms = [terms[match] for match in matches]
        return CellTypes(
            self.names,
            tuple(text or term.definition for text, term in zip(self.definitions, found_terms, strict=True)),
            tuple(
                tuple(synonym for synonym in (term.label, *term.synonyms) if _fold(synonym) != _fold(name))
                for name, term in zip(self.names, found_terms, strict=True)
            ),
            tuple(matches),
        )

    def texts(self) -> list[list[list[str]]]:
        """Return what is asked about each type: the definition, and the name and synonyms in the words of `TEMPLATES`.

        Returns
        -------
        For each type some lists of texts. The first text of each says it plainly: where an encoder knows no word of
        that one, the rest of its list would say nothing but the template's own words.
        """
        texts = []
        for name, definition, synonyms in zip(self.names, self.definitions, self.synonyms, strict=True):
            words = name.replace("_", " ")
            positive = affirmed(definition)
            texts.append(
                [
                    [template.format(words) for template in TEMPLATES],
                    *([[f"{words}. {positive}"]] if positive else []),
                    *([template.format(synonym) for template in TEMPLATES[:2]] for synonym in synonyms[:_MAX_SYNONYMS]),
                ]
            )
        return texts


@dataclass(frozen=True)
class Term:
    """A term of an ontology: its label, definition and synonyms."""

    label: str
    definition: str = ""
    synonyms: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is written of it."""
        return self.label, self.definition, *self.synonyms


def affirmed(definition: str) -> str:
    """Return a definition without what it says the type lacks (`negative for CD3 and CD19`, `CD16-negative`)."""
    for pattern in _NEGATED:
        definition = pattern.sub(" ", definition)
    return re.sub(r"\s+([.,;])", r"\1", re.sub(r"\s+", " ", definition)).strip(" ,;")


def read_ontology(path: str | Path) -> dict[str, Term]:
    """Read the terms of an ontology, obsolete ones left out; see the head of the module for the two forms it may have.

    Raises
    ------
    CellsError
        The file cannot be read, or has neither form.
    """
    try:
        raw = Path(path).read_bytes()
        value = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        raise CellsError(f"{path} cannot be read as JSON: {error}") from error
    try:
        terms = dict(_obo(value["graphs"]) if "graphs" in value else _mapped(value))
    except (TypeError, KeyError, AttributeError) as error:
        raise CellsError(f"{path} is JSON, but neither an OBO graph nor a mapping of terms ({error!r})") from error
    if no_text := [name for name, term in terms.items() if not all(isinstance(text, str) for text in term.texts)]:
        raise CellsError(f"{path} has labels, definitions or synonyms that are no text, of {first_ten(no_text)}")
    if not terms:
        raise CellsError(f"{path} has no term with a label that is not obsolete")
    return terms


def _name(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _obo(graphs: Any) -> Iterable[tuple[str, Term]]:
    for graph in graphs:
        for node in graph.get("nodes", []):
            meta = node.get("meta") or {}
            if node.get("lbl") and node.get("type", "CLASS") == "CLASS" and not meta.get("deprecated"):
                exact = (
                    synonym["val"]
                    for synonym in meta.get("synonyms", [])
                    if synonym.get("pred", "hasExactSynonym") == "hasExactSynonym"
                )
                term = str(node["id"]).rsplit("/", 1)[-1].replace("_", ":", 1)
                yield term, Term(node["lbl"], (meta.get("definition") or {}).get("val", ""), tuple(exact))


def _mapped(value: Any) -> Iterable[tuple[str, Term]]:
    for term, facts in value.items():
        if facts.get("label") and not facts.get("deprecated"):
            yield term, Term(facts["label"], facts.get("description") or "", tuple(facts.get("synonyms") or ()))


def _names_of(terms: Mapping[str, Term]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    labels: dict[str, list[str]] = {}
    synonyms: dict[str, list[str]] = {}
    for term, facts in terms.items():
        labels.setdefault(_fold(facts.label), []).append(term)
        for name in {_fold(synonym) for synonym in facts.synonyms}:
            synonyms.setdefault(name, []).append(term)
    return labels, synonyms


def _fold(name: str) -> str:
    """Return a name without letter case, underscores and a plural s."""
    words = name.replace("_", " ").casefold().split()
    folded = " ".join(words)
    return folded[:-1] if folded.endswith("s") and not folded.endswith("ss") else folded
