"""Names that are not in the tables as they are written: what they were before something happened to them.

Everything here goes by the letters of a name alone; what needs the names of a species is in `lookup`.
"""

import datetime
import re
from typing import NamedTuple

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
# How the names of assemblies begin, by species. Seurat writes a dash for each underscore: `mm10---Trp53`.
_GENOME = re.compile(
    r"(?P<genome>(?:(?P<human>human|GRCh3[78]|hg(?:1[6-9]|38))|(?P<mouse>mouse|GRCm3[89]|mm(?:[89]|10|39))"
    r"|(?P<rat>mRatBN7|Rnor_?6|rn[4-7])|(?P<zebrafish>GRCz1[01]|danRer\d\d?)|(?P<fruit_fly>BDGP\d\d?|dm[36]))"
    r"(?:\.\d+|\.?p\d+)?)[-_]+(?P<rest>.+)",
    re.IGNORECASE,
)
_ENSEMBL_ID = r"(?:ENS[A-Z]{0,6}?G|FBgn|WBGene)\d{5,}"
_ENSEMBL = re.compile(r"(ENS[A-Z]{0,6}?G|FBgn|WBGene)\d{5,}(?:\.\d+)?(?:_PAR_Y)?")
# Other ways of writing an id; the name of the group says which one, and what is in it is left.
_REWRITTEN = re.compile(
    r"(?i:gene_?id|entrez(?:_?id)?|ncbi_?gene|ncbi)[:_ ]\s*0*(?P<label>\d+)"
    r"|(?P<decimal>\d+)\.0+"
    rf"|(?P<ensembl>{_ENSEMBL_ID})(?:\.\d+(?:_PAR_Y)?|_PAR_Y)"
    r"|ENSGR(?P<on_y>\d{10})(?:\.\d+)?"
    # By NCBI's convention such a placeholder is LOC and the GeneID.
    r"|LOC(?P<placeholder>\d+)"
    r"|gene[-:](?P<gff>.+)"
    r'|"(?P<quoted>[^"]+)"'
)
# What cannot be seen, and hyphens that look like the one in symbols.
_UNSEEN = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"), "") | {0x2010: "-", 0x2011: "-"}
_SEPARATOR = re.compile(r"///|[|;,]")
_SYMBOL_AND_ID = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?P<first>{_ENSEMBL_ID}(?:\.\d+)?)(?:[-_:/ ]+|\.{{3}})\(?(?P<second>[^()]+)\)?",
        rf"(?P<first>.+?)(?:[-_:/ ]+|\.{{3}})(?P<second>{_ENSEMBL_ID}(?:\.\d+)?)",
        rf"(?P<first>.+?)\s*\((?P<second>{_ENSEMBL_ID}(?:\.\d+)?|(?:[A-Za-z_]+[: ] ?)?\d+)\)",
        r"(?P<first>\d+) ?\((?P<second>[^()]+)\)",
    )
)
_LONGEST = 100  # of a symbol and an id in one name

# Null as Python, R, Julia, SQL, VCF and spreadsheets write it, made unique or not (`NA.1`, `nan-2`).
_MISSING = re.compile(
    r"(?:na|n/a|#n/a|nan|(?-i:NaT)|none|null|nil|<na>|missing|nothing|[?]+|#(?:name|ref|value|div/0|num|null)[?!])?"
    r"[-._]*(?:[-._]\d+)*",
    re.IGNORECASE,
)
MISSING_BEGIN = frozenset("nNmM-._?#<")
"""The first characters of missing values as text."""
_MISSING_LENGTH = 20

# Of UniProt; many a symbol has the same form (P2RY11, H2AC13).
_ACCESSION = r"(?:[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z\d]{2}\d){1,2})"
_LIKE_A_SYMBOL = re.compile(_ACCESSION)

# Names that are no genes by their form: the reason, the form, and what it is in a sentence. The first one counts.
_FORMS = (
    (
        "clone or placeholder",
        r"(?:RP|CT|XX|GS|LA|KB|WI|LL|CH|ABC|bA|dJ|hC)\w*-\w+\.\d+|(?:RP\d+|CT[ABCD]|KB|XXbac|LLNL\w*)-\w[\w-]*(?:\.\d+)?"
        r"|[A-Z]{1,3}\d{5,8}\.\d+|Gm\d+|\d{7}[A-Z]\d{2}Rik|[A-Z]+\d+[A-Z]\d+Rik|LOC\d+|MGC\d+|KIAA\d+|FLJ\d+"
        r"|(?:BC|AI|AK)\d{6}|DKFZ[Pp]\d+\w+|C(?:ITF|MP)\d+-\w+\.\d+",
        "the name of a clone or prediction; Ensembl ids last longer",
    ),
    ("spike-in", r"ERCC[-_.]\d{5}", "an ERCC spike-in control, no gene"),
    ("spreadsheet number", r"\d(?:\.\d+)?[Ee]\+\d+", "a number that a spreadsheet made of the name of a clone"),
    (
        "no gene id",
        r"ENS[A-Z]{0,6}?[TPE]R?\d{10,11}(?:\.\d+)?",
        "an Ensembl id of a transcript, protein or exon: give ids of genes",
    ),
    (
        "no gene id",
        r"(?i:[NX][MRP]_\d{3,12}(?:\.\d+)?)",
        "a RefSeq id of a transcript or protein: give symbols or ids of genes",
    ),
    (
        "other database",
        r"(?i:(?:HGNC|MGI|RGD|OMIM|MIM|VGNC|Xenbase|FlyBase|UniProt(?:KB)?)[:_].+)|ZDB-GENE-[\d-]+|ILMN_\d+"
        rf"|\d+_(?:[a-z]_)?at|{_ACCESSION}(?:-\d+)?",
        "an id of another database or a microarray: give symbols, Ensembl ids or NCBI GeneIDs",
    ),
    (
        "control probe",
        r"(?i:neg(?:ative)?[-_ .]?(?:prb|probe|control|ctrl).*|negative[-_ .]?\d+|antisense[-_].+"
        r"|(?:blank|falsecode|system[-_ .]?control|unassignedcodeword|deprecatedcodeword|intergenic[-_ .]?region)"
        r"(?:[-_ .\d].*)?)",
        "a control of a spatial assay, no gene",
    ),
    (
        "antibody or hashtag",
        r"(?i:.+[-_ .]total[-_ ]?seq[-_ ]?[a-d]?\d*|(?:adt|hto|ab|prot|protein|antibody|anti)[-_:.].+"
        r"|.+[-_.:](?:adt|hto|prot|protein|antibody)|hash(?:tag)?(?:[-_ .\d].*)?|cmo\d{3})",
        "a tag of an antibody or a sample, no transcript",
    ),
)
_FORM = re.compile("|".join(f"({pattern})" for _, pattern, _ in _FORMS))

_NOTES = {
    "decimal": "a GeneID that was read as a number with decimals",
    "on_y": "the copy on Y of a gene of the pseudoautosomal regions, as Ensembl wrote it",
    "placeholder": "the placeholder of GeneID {}",
    "gff": "the id of a gene in a GFF file",
    "quoted": "a name in quotes",
}

# A month as a spreadsheet shows it, and how gene symbols that it takes for that month begin.
MONTHS = {
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
    re.compile(pattern, re.I | re.A)
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


def is_missing(name: str) -> bool:
    """Whether a name is empty or a missing value written as text (`NA`, `nan`, `None`, `#N/A`, `-`, `NA.1`)."""
    if not name:
        return True
    return name[0] in MISSING_BEGIN and len(name) <= _MISSING_LENGTH and _MISSING.fullmatch(name) is not None


def rewritten(name: str) -> Rewritten | None:
    """Return the other way of writing a name that says the same without doubt; None where there is none."""
    if ("_" in name or "-" in name) and (match := _GENOME.fullmatch(name)):
        note = f"the prefix {match['genome']} of a reference of several genomes was left out"
        groups = match.groupdict()
        species = next(group for group in groups if groups[group] and group not in {"genome", "rest"})
        return Rewritten(match["rest"], note, species.replace("_", "-"))
    if not name.isascii() and (seen := name.translate(_UNSEEN).strip()) != name:
        return Rewritten(seen, "characters that cannot be seen were left out, or hyphens of another kind")
    match = _REWRITTEN.fullmatch(name)
    if match is None:
        return None
    kind, rest = str(match.lastgroup), match[match.lastindex or 0]
    if kind == "on_y":
        rest = f"ENSG0{rest}"
    return Rewritten(rest, _NOTES.get(kind, "").format(rest))


def ensembl_species(name: str) -> str | None:
    """Return the species of an Ensembl gene id, `""` for one of a species without a name here, None for no such id."""
    match = _ENSEMBL.fullmatch(name)
    return ENSEMBL_PREFIXES.get(match[1], "") if match else None


def form(name: str) -> tuple[str, str]:
    """Return why a name is no gene by its form (`spike-in`, `control probe` ...), and a sentence on it, else `""`."""
    match = _FORM.fullmatch(name)
    if match is None:
        return "", ""
    reason, _, note = _FORMS[(match.lastindex or 0) - 1]
    return reason, note


def may_be_a_symbol(name: str) -> bool:
    """Whether a name has no form of what is no gene, or one that many symbols have too."""
    return not form(name)[0] or _LIKE_A_SYMBOL.fullmatch(name) is not None


def parts(name: str) -> list[str]:
    """Return the names in a field that holds several (`7982|93655`), else nothing."""
    if not ("|" in name or "," in name or ";" in name or "///" in name):
        return []
    names = list(filter(None, map(str.strip, _SEPARATOR.split(name))))
    return names if len(names) > 1 else []


def symbol_and_id(name: str) -> tuple[str, ...]:
    """Return the halves of a symbol joined with an id (`TP53_ENSG00000141510`, `TP53 (7157)`), else nothing."""
    if len(name) > _LONGEST or not (name[-1:] == ")" or "G0" in name or "FBgn" in name or "WBGene" in name):
        return ()
    return next((match.group("first", "second") for match in (p.fullmatch(name) for p in _SYMBOL_AND_ID) if match), ())


def as_r_writes(name: str) -> str:
    """Return a name as R's `make.names` writes it, but for the `X` before digits: `HLA.A` for `HLA-A`."""
    return re.sub(r"[^A-Za-z0-9._]", ".", name)


def without_suffix(name: str) -> str:
    """Return the name before `-1`, `.1` or `_1`, which tools append to make names unique; `""` where there is none."""
    for length in (2, 3):
        if name[-length : 1 - length] in {"-", ".", "_"} and name[1 - length :].isdecimal():
            return name[:-length]
    return ""


def date_of(name: str) -> tuple[tuple[str, int], ...]:
    """Return (month, day) for each way of reading a name as a spreadsheet's date; none where it is no date."""
    if not (name[:1].isdecimal() or name[:3].lower() in MONTHS):
        return ()
    for pattern in _DATES:
        if match := pattern.fullmatch(name):
            return _valid((match["month"][:3].lower(), int(match["day"])))
    months = list(MONTHS)
    if (match := _ISO_DATE.fullmatch(name)) and 1 <= int(match["month"]) <= 12:
        # SEPT2 typed as "Sep-02" becomes September 2002: then the day is the first and the year tells the number.
        month, year = months[int(match["month"]) - 1], int(match["year"])
        by_year = (month, year % 100) if int(match["day"]) == 1 and 2000 <= year < 2032 else (month, 0)
        return _valid((month, int(match["day"])), by_year)
    if match := _SLASHED.fullmatch(name):
        first, second = int(match["first"]), int(match["second"])
        return _valid(*((months[m - 1], day) for m, day in ((first, second), (second, first)) if 1 <= m <= 12))
    if _SERIAL.fullmatch(name):
        date = _EPOCH + datetime.timedelta(days=int(name))
        return _valid((months[date.month - 1], date.day))
    return ()


def _valid(*dates: tuple[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(dict.fromkeys((month, day) for month, day in dates if 1 <= day <= 31))
