"""What is left out of texts for an evaluation, so that they do not hold its answers.

`templates`: sentences that a program wrote out of annotations. `go`: those of them that are made of Gene Ontology terms
(the terms themselves are left out where facts are composed). `phenotypes`: sentences on what goes wrong without the
gene: knock-outs, knock-downs, mutants, deficiency, lethality, mutations and what they cause.
"""

import re
from collections.abc import Callable, Collection

from genetext.text import hygiene, sentences
from genetext.text.layer import Passage

_ANIMALS = r"mice|mouse|animals?|embryos?|rats?|zebrafish|flies|worms?"
_BEARERS = rf"(?:{_ANIMALS}|cells?|strains?|alleles?|mutants?|patients?|individuals)"
_STATES = r"(?:null|mutants?|hypomorphic|transgenic|homozygous|heterozygous|deficient|lacking|without|with\ mutations?)"
_DAMAGES = (
    r"(?:mutations?|defects?|deletions?|disruptions?|deficienc(?:y|ies)|variants?|alterations?|loss|absence|inactivation"
    r"|silencing|depletion|ablation|truncations?|polymorphisms?)"
)
_PHENOTYPE = re.compile(
    rf"""
      \bknock(?:ed)?[\s-]?(?:out|down|in)s?\b | \bphenotyp\w* | -/-
    | \b(?:lethal|lethality|inviable|infertil\w+|haploinsufficien\w*|(?:loss|gain)[\s-]of[\s-]function)\b
    | \b{_STATES}\b[^.;]{{0,60}}\b{_BEARERS}\b
    | \b{_BEARERS}\b[^.;]{{0,40}}\b{_STATES}\b
    | \b{_DAMAGES}\s+(?:in|of|at|within)\s+(?:(?:the|this|these|both|either|its)\s+)?
      (?:[\w-]+\s+){{0,3}}?(?:genes?|locus|loci|proteins?|alleles?)\b
    | \b{_DAMAGES}\b[^.;]{{0,60}}\b(?:causes?|caused|results?\ in|resulting\ in|leads?\ to|associated\ with
      |responsible\ for|underl(?:y|ies)|linked\ to)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


def is_on_phenotype(sentence: str) -> bool:
    """Whether a sentence speaks of knock-outs, mutants, mutations or what they cause."""
    return _PHENOTYPE.search(sentence) is not None


_TESTS: dict[str, Callable[[str], object]] = {
    "templates": hygiene.FROM_TEMPLATE.match,
    "go": hygiene.FROM_GO.match,
    "phenotypes": is_on_phenotype,
}


def without(text: str, drop: Collection[str]) -> str:
    """Return a text without the sentences of some kinds; empty where there was nothing else.

    Parameters
    ----------
    text
        One or more sentences.
    drop
        Of `templates`, `go` and `phenotypes`. With none of them the text is returned as it is.
    """
    if not drop:
        return text
    tests = [_TESTS[kind] for kind in drop]
    return " ".join(sentence for sentence in sentences.split(text) if not any(test(sentence) for test in tests))


def is_newer(passage: Passage, before: str) -> bool:
    """Whether a passage is, or may be, dated at or after `before`; one without a date is not."""
    return bool(before and passage.date) and f"{passage.date}-99-99"[:10] >= before
