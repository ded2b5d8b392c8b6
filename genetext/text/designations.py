"""Which of a gene's other designations say something that its name does not.

NCBI lists under each gene what submitters of sequences and other databases call its product. Most entries are the name
once more in other words or another spelling; some tell a function that the name does not (`wasabi receptor`, `cilium
assembly protein DZIP1`). Left out are those without a word that the name or an earlier entry lacks, those that only
number a locus, and the clone numbers of libraries, which make strangers alike (`testicular tissue protein Li 226`).
"""

import re
from collections.abc import Callable, Iterable

_WORD = re.compile(r"[^\W_]+")
# Words that add nothing by themselves.
_SAYING_NOTHING = (
    "a an and by containing family for gene homolog human in isoform like member of or precursor probable protein "
    "putative similar subunit the to type with"
)
_EMPTY = frozenset(_SAYING_NOTHING.split())
_LIBRARY = re.compile(
    r"^(?:testicular (?:tissue|secretory) protein Li\b|epididymis (?:secretory|luminal|tissue)\b|testis tissue sperm\b"
    r"|renal carcinoma antigen NY-REN\b|(?:cell )?proliferation-inducing (?:gene |protein )?\d"
    r"|cancer/testis antigen (?:family )?\d)",
    re.IGNORECASE,
)


def telling(listed: Iterable[str], *, name: str, symbol: str, informative: Callable[[str, str], bool]) -> list[str]:
    """Return the designations that say something more, in their order.

    Parameters
    ----------
    listed
        Designations as NCBI lists them.
    name, symbol
        Of the gene; what stands in them is said already.
    informative
        Whether a name says anything about a gene of a symbol (`compose.is_informative`).
    """
    said = {*_words(name), *_words(symbol), *_EMPTY}
    kept = []
    for designation in listed:
        if not informative(designation, symbol) or _LIBRARY.match(designation):
            continue
        new = {word for word in _words(designation) if not word.isdigit()} - said
        if new:
            kept.append(designation)
            said |= new
    return kept


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
