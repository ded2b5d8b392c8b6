"""Names that are not in the tables as they are written: what they were before something happened to them."""

import datetime
import re
from collections.abc import Iterator
from typing import NamedTuple

from genetext.names.tables import PREVIOUS, SYMBOL, Tables, fold

#: Ensembl's prefixes of gene ids, by species (Ensembl's list of species, and FlyBase's and WormBase's ids).
ENSEMBL_PREFIXES = {
    "ENSG": "human",
    "ENSMUSG": "mouse",
    "ENSRNOG": "rat",
    "ENSMMUG": "macaque",
    "ENSMFAG": "crab-eating-macaque",
    "ENSPTRG": "chimpanzee",
    "ENSCJAG": "marmoset",
    "ENSSSCG": "pig",
    "ENSBTAG": "cow",
    "ENSCAFG": "dog",
    "ENSOCUG": "rabbit",
    "ENSOARG": "sheep",
    "ENSGALG": "chicken",
    "ENSDARG": "zebrafish",
    "ENSXETG": "western-clawed-frog",
    "FBgn": "fruit-fly",
    "WBGene": "worm",
}
_GENOMES = {
    **dict.fromkeys(("grch", "hg"), "human"),
    **dict.fromkeys(("grcm", "mm"), "mouse"),
    **dict.fromkeys(("mratbn", "rnor", "rn"), "rat"),
    **dict.fromkeys(("grcz", "danrer"), "zebrafish"),
    **dict.fromkeys(("bdgp", "dm"), "fruit-fly"),
}
_GENOME = re.compile(
    r"(?P<genome>(?P<kind>grch|hg|grcm|mm|mratbn|rnor|rn|grcz|danrer|bdgp|dm)[\d.]+\w*?)_+(?P<rest>.+)", re.I
)
_LABELLED_ID = re.compile(r"(?:gene_?id|entrez(?:_?id)?|ncbi_?gene|ncbi)[:_ ]\s*(\d+)", re.I)
_DECIMAL_ID = re.compile(r"(\d+)\.0+")
_LOC = re.compile(r"LOC(\d+)")
_ENSEMBL = re.compile(r"(?P<prefix>ENS[A-Z]{0,6}?G|FBgn|WBGene)(?P<digits>\d{5,})(?P<version>\.\d+)?(?P<par>_PAR_Y)?")
_ENSEMBL_PRODUCT = re.compile(r"ENS[A-Z]{0,6}?(?P<kind>[TPE])\d{11}(\.\d+)?")
_SPIKE_IN = re.compile(r"ERCC-\d{5}")
_SUFFIX = re.compile(r"(?P<base>.+?)[-.](?P<number>\d{1,2})")
_CLONE = re.compile(
    r"(?:RP|CT|XX|GS|LA|KB|WI|LL|CH|ABC|bA|dJ|hC)\w*-\w+\.\d+|(?:RP\d+|CT[ABCD]|KB|XXbac|LLNL\w*)-\w[\w-]*(?:\.\d+)?"
    r"|[A-Z]{1,3}\d{5,8}\.\d+|Gm\d+|\d{7}[A-Z]\d{2}Rik|[A-Z]+\d+[A-Z]\d+Rik|LOC\d+|MGC\d+|KIAA\d+|FLJ\d+|(?:BC|AI|AK)\d{6}"
    r"|DKFZ[Pp]\d+\w+|C(?:ITF|MP)\d+-\w+\.\d+"
)
_SEPARATOR = re.compile(r"\s*(?:///|[|;,])\s*")
_R_FORBIDS = re.compile(r"[^A-Za-z0-9._]")
_SCIENTIFIC = re.compile(r"\d(?:\.\d+)?E\+\d+", re.I)

# A month as a spreadsheet shows it, and how gene symbols that it takes for that month begin.
_MONTHS = {
    "jan": ("JAN",),
    "feb": ("FEB",),
    "mar": ("MARCH", "MARC", "MAR"),
    "apr": ("APR",),
    "may": ("MAY",),
    "jun": ("JUN",),
    "jul": ("JUL",),
    "aug": ("AUG",),
    "sep": ("SEPT", "SEP"),
    "oct": ("OCT",),
    "nov": ("NOV",),
    "dec": ("DEC",),
}
_MONTH = r"(?P<month>jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)\w{0,6}"
_DATES = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"(?P<day>\d{{1,2}})[-/ .]{_MONTH}(?:[-/ .]\d{{2,4}})?",
        rf"{_MONTH}[-/ .](?P<day>\d{{1,2}})(?:[-/ .]\d{{4}})?",
    )
)
_ISO_DATE = re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?:[ T]00:00(?::00)?)?")
_SLASHED = re.compile(r"(?P<first>\d{1,2})/(?P<second>\d{1,2})/\d{2,4}")
_SERIAL = re.compile(r"[34]\d{4}")
_EPOCH = datetime.date(1899, 12, 30)  # day 0 of a spreadsheet


class Rewritten(NamedTuple):
    """Another way of writing a name, with what was done to it; `genome` names the species that a prefix says."""

    name: str
    note: str
    genome: str = ""


def rewritten(name: str) -> Iterator[Rewritten]:
    """Yield the ways of writing a name that say the same without doubt, the nearest first."""
    if found := _GENOME.fullmatch(name):
        note = f"the prefix {found['genome']} of a reference of several genomes was left out"
        yield Rewritten(found["rest"], note, _GENOMES[found["kind"].lower()])
    if found := _LABELLED_ID.fullmatch(name):
        yield Rewritten(found[1].lstrip("0"), "")
    if found := _DECIMAL_ID.fullmatch(name):
        yield Rewritten(found[1], "a GeneID that was read as a number with decimals")
    if (found := _ENSEMBL.fullmatch(name)) and (found["version"] or found["par"]):
        yield Rewritten(found["prefix"] + found["digits"], "")
    if found := _LOC.fullmatch(name):
        # By NCBI's convention such a placeholder is LOC and the GeneID.
        yield Rewritten(found[1], f"the placeholder of GeneID {found[1]}")


def ensembl_species(name: str) -> str | None:
    """Return the species of an Ensembl gene id, `""` for one of a species without a name here, None for no such id."""
    found = _ENSEMBL.fullmatch(name)
    return ENSEMBL_PREFIXES.get(found["prefix"], "") if found else None


def ensembl_product(name: str) -> str:
    """Return `transcript`, `protein` or `exon` for such an Ensembl id, else `""`."""
    found = _ENSEMBL_PRODUCT.fullmatch(name)
    return {"T": "transcript", "P": "protein", "E": "exon"}[found["kind"]] if found else ""


def is_spike_in(name: str) -> bool:
    """Whether this is one of the ERCC spike-in controls (`ERCC-00002`), not the repair genes (`ERCC1`)."""
    return _SPIKE_IN.fullmatch(name) is not None


def is_placeholder(name: str) -> bool:
    """Whether this names a clone or a prediction (`RP11-34P13.7`, `AC012345.1`, `Gm1992`), not a described gene."""
    return _CLONE.fullmatch(name) is not None


def is_scientific(name: str) -> bool:
    """Whether a spreadsheet may have read a clone such as `2310009E13` as a number (`2.31E+19`)."""
    return _SCIENTIFIC.fullmatch(name) is not None


def parts(name: str) -> list[str]:
    """Return the names in a field that holds several (`7982|93655`), else nothing."""
    found = list(filter(None, _SEPARATOR.split(name)))
    return found if len(found) > 1 else []


def known_to_r_as(tables: Tables, name: str) -> list[str]:
    """Return the known names that R's `make.names` writes like this: `HLA-A` for `HLA.A`, `0610Rik` for `X0610Rik`.

    The best kind only: where a current symbol is written so, synonyms are left out.
    """
    bare = name[1:] if len(name) > 1 and name[0] == "X" and name[1].isdigit() else name
    if bare == name and "." not in name:
        return []
    found = [
        known for known in tables.folded.get(fold(bare), ()) if known != name and _R_FORBIDS.sub(".", known) == bare
    ]
    best = min(map(tables.rank, found), default=0)
    return [known for known in found if tables.rank(known) == best]


def without_suffix(name: str) -> str:
    """Return the name before `-1` or `.1`, which tools append to make names unique; `""` where there is none."""
    found = _SUFFIX.fullmatch(name)
    return found["base"] if found else ""


def date_of(name: str) -> tuple[tuple[str, int], ...]:
    """Return (month, day) for each way of reading a name as a spreadsheet's date; none where it is no date."""
    for pattern in _DATES:
        if found := pattern.fullmatch(name):
            return _valid((found["month"][:3].lower(), int(found["day"])))
    months = list(_MONTHS)
    if (found := _ISO_DATE.fullmatch(name)) and 1 <= int(found["month"]) <= 12:
        # SEPT2 typed as "Sep-02" becomes September 2002: then the day is the first and the year tells the number.
        month, year = months[int(found["month"]) - 1], int(found["year"])
        by_year = (month, year % 100) if int(found["day"]) == 1 and 2000 <= year < 2032 else (month, 0)
        return _valid((month, int(found["day"])), by_year)
    if found := _SLASHED.fullmatch(name):
        first, second = int(found["first"]), int(found["second"])
        return _valid(*((months[m - 1], day) for m, day in ((first, second), (second, first)) if 1 <= m <= 12))
    if _SERIAL.fullmatch(name):
        date = _EPOCH + datetime.timedelta(days=int(name))
        return _valid((months[date.month - 1], date.day))
    return ()


def genes_of_date(tables: Tables, dates: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
    """Return the genes with a name that a spreadsheet takes for one of these dates (`1-Mar`: MARCH1, now MARCHF1)."""
    names = [
        name
        for month, day in dates
        for begin in _MONTHS[month]
        for name in (f"{begin}{day}", f"{begin.capitalize()}{day}", f"{begin}-{day}")
        if name in tables.exact
    ]
    # Official symbols, current or former, stood in the tables that spreadsheets spoilt; a synonym is a last resort.
    official = [name for name in names if tables.kind(name) in {SYMBOL, PREVIOUS}]
    return tuple(dict.fromkeys(place for name in official or names for place in tables.places(name)))


def _valid(*dates: tuple[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(dict.fromkeys((month, day) for month, day in dates if 1 <= day <= 31))
