"""Splitting gene summaries into sentences, where `E. coli`, `e.g.`, `p53.` and `et al.` all occur."""

import re

# Not the end of a sentence, whatever follows. Those of the first line also with a capital (`Cf.`), but not in capitals.
_ABBREVIATIONS = frozenset(
    ["e.g", "i.e", "vs", "cf", "fig", "figs", "approx", "ref", "refs", "resp", "incl", "vol", "vols", "pp"]
)
_SMALL = frozenset(["al", "ca", "sp", "spp", "subsp", "str", "substr", "var", "viz", "ser"])  # "Ser." is an amino acid
_TITLES = frozenset(["Mr", "Mrs", "Ms", "Dr", "Drs", "Prof", "St", "Mt", "Jr", "Ph.D"])
_NUMBERED = frozenset({"no", "nos"})  # abbreviations where a number follows, else an answer
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # U.S, R.J, w.r.t
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

    A stop ends a sentence unless it belongs to an abbreviation (`e.g.`, `Mr.`, `et al.`, `No. 5`, `U.S.`), to a single
    letter that stands for a genus or a first name (`H. sapiens`), to a number (`0.56`), or to one that begins an item
    (`2. It binds`). A sentence may begin with a gene or molecule in small letters (`p53`, `microRNAs`).
    """
    parts = []
    start = 0
    for stop in _STOP.finditer(text):
        if _ends(text, start, stop):
            parts.append(text[start : stop.end()].strip())
            start = stop.end()
    parts.append(text[start:].strip())
    return [sentence for sentence in parts if sentence]


def _ends(text: str, start: int, stop: re.Match[str]) -> bool:
    if text[stop.start()] != ".":
        return True
    # The text is cut, since `^` would match at its own beginning only, not at that of a later sentence.
    before = _LAST_WORD.search(text[max(start, stop.start() - 40) : stop.start()])
    word = before.group(1) if before else ""
    following = _NEXT_WORD.match(text, stop.end())
    next_word = following.group(1) if following else ""
    if word in _TITLES or word in _SMALL or (word.lower() in _ABBREVIATIONS and not word.isupper()):
        return False
    if word.lower() in _NUMBERED and word != "NO":
        return not next_word[:1].isdigit()
    if _DOTTED.fullmatch(word):
        return next_word in _OPENERS
    if len(word) == 1 and word.isalpha():
        # "coenzyme Q. Complex I" ends a sentence, "found by J. Smith" does not.
        noun = _NOUN_BEFORE.search(text, max(start, stop.start() - 40), stop.start() - 1)
        return next_word in _OPENERS or noun is not None
    return not text[start : stop.start()].strip().isdecimal()
