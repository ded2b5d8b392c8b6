"""Splitting gene summaries into sentences, where `E. coli`, `e.g.`, `p53.` and `et al.` all occur."""

import re

# Not the end of a sentence, whatever follows.
_ABBREVIATION_LIST = """
e.g i.e al vs cf fig figs approx ca sp spp subsp mr mrs ms dr prof st ref refs resp incl no nos var viz ser
"""
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())
# Words that begin a sentence after a single letter ("vitamin D. This gene"), which else is a genus ("H. sapiens").
_OPENER_LIST = """
A Additional Additionally All Also Alternate Alternative Alternatively An Another As At Both By Defects Deletion
Deletions Diseases During Each Expression Five For Four From Further Furthermore However Human If In Is It Its
Like Loss Many Members Multiple Mutation Mutations Nine Of On One Other Overexpression Patients Polymorphisms
Predicted Pseudogenes Read Several Seven Similar Six Some Studies Such Ten That The Their There These They This
Three Through Thus To Transcript Two Upon Variants Various When Which While With
"""
_OPENERS = frozenset(_OPENER_LIST.split())
# A stop, what may close a quotation or bracket, and either space before a plausible start or no space at all.
_STOP = re.compile(
    r"""[.!?]['"\u2019\u201d)\]]*"""
    r"""(?:\s+(?=['"\u2018\u201c(\[]*(?:[A-Z0-9\u0391-\u03a9]|[a-z\u03b1-\u03c9]{1,5}-?[A-Z0-9]))"""
    r"""|(?<=[a-z)\]]{2}\.)(?=[A-Z][a-z]+\s))"""
)
_LAST_WORD = re.compile(r"""(?:^|[\s('"\u201c\[])([^\s('"\u201c\[]*)$""")
_NOUN_BEFORE = re.compile(r"\b(?!with|from|like|that|than|and)[a-z]{4,}\s+$")
_NEXT_WORD = re.compile(r"\W*(\w+)")


def split(text: str) -> list[str]:
    """Split a text into sentences, without the space between them.

    A stop ends a sentence unless it belongs to an abbreviation (`e.g.`, `i.e.`, `Mr.`, `et al.`), to a single letter
    that stands for a genus or a first name (`H. sapiens`), or to a number (`0.56`). A sentence may begin with a gene
    or molecule in small letters (`p53`, `microRNAs`).
    """
    found = []
    start = 0
    for stop in _STOP.finditer(text):
        if _ends(text, start, stop):
            found.append(text[start : stop.end()].strip())
            start = stop.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]


def _ends(text: str, start: int, stop: re.Match[str]) -> bool:
    if text[stop.start()] != ".":
        return True
    before = _LAST_WORD.search(text, max(start, stop.start() - 40), stop.start())
    word = before.group(1) if before else ""
    if word.lower() in _ABBREVIATIONS:
        return False
    if len(word) == 1 and word.isalpha():
        following = _NEXT_WORD.match(text, stop.end())
        if following is not None and following.group(1) in _OPENERS:
            return True
        # "coenzyme Q. Complex I" ends a sentence, "found by J. Smith" does not.
        return _NOUN_BEFORE.search(text, max(start, stop.start() - 40), stop.start() - 1) is not None
    return True
