"""What is not biology, out of a gene summary and into columns: provider tails, PMIDs, boilerplate, template sentences.

A provider's tail or a sentence that thousands of genes share would become an axis of the embedding along which
genes look alike that have nothing in common but their annotator.
"""

import html
import re
import unicodedata
from dataclasses import dataclass

from genetext.text import sentences

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MARKUP = re.compile(r"</?(?:i|b|u|em|strong|sub|sup|p|br|span|a)(?:\s[^<>]{0,200})?/?>", re.IGNORECASE)
_INVISIBLE = re.compile(
    r"[\u0000-\u0008\u000e-\u001f\u007f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffe\uffff]"
)

_DATE = rf"(?:,?\s*(?P<month{{0}}>{'|'.join(_MONTHS)})[a-z]*\.?,?\s+(?P<year{{0}}>\d{{{{4}}}}))"
_TAIL = re.compile(
    # "[provided by RefSeq, Jul 2008]"; with the bracket left open only at the end of the text
    rf"\s*[\[(]\s*(?:[Pp]rovided|[Ss]upplied)\s+by\s+(?P<who0>[^\[\]()]{{0,80}}?){_DATE.format(0)}?\s*\.?\s*(?:[\])]|$)"
    # "provided by RefSeq, Jul 2020]", the opening bracket lost
    rf"|\s*\b(?:[Pp]rovided|[Ss]upplied)\s+by\s+(?P<who1>[A-Z][\w ]{{1,60}}?){_DATE.format(1)}\s*\]"
    # "[provided by RefSeq Some more text": neither a date nor an end
    r"|\s*\[\s*(?:[Pp]rovided|[Ss]upplied)\s+by(?:\s+(?P<who2>[\w-]+))?"
)

_LABEL = r"(?:PMIDs?|PMID\s*s|PubMed(?:\s*IDs?)?)"
_AND = r"\s*(?:,\s*and|,|;|and|&)\s*"
_CITED = (
    rf"\b{_LABEL}\s*[:#=]?\s*\d{{1,9}}\b(?:{_AND}(?:{_LABEL}\s*[:#=]?\s*)?\d{{1,9}}\b(?=\s*(?:[,;.)\]]|and\b|&|$)))*"
)
_BRACKETED_PMIDS = re.compile(
    rf"\s*[(\[]\s*(?:(?:see|see also|reviewed in|review|e\.g\.|for review,?|refs?\.?|references?)[,:]?\s+)*"
    rf"{_CITED}(?:{_AND}{_CITED})*\s*\.?\s*[)\]]",
    re.IGNORECASE,
)
_PMIDS = re.compile(rf"\s*[,;]?\s*{_CITED}", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")

# What taking things out leaves behind: empty brackets, lonely commas, space before a stop, a stop said twice.
_TIDY = (
    (re.compile(r"\(\s*[,;]?\s*\)|\[\s*[,;]?\s*\]"), " "),
    (re.compile(r"([(\[])\s*[,;]\s*"), r"\1"),
    (re.compile(r"[,;]\s*([)\]])"), r"\1"),
    (re.compile(r"\s+([,;.)\]])(?=[\s,;.)\]]|$)"), r"\1"),
    (re.compile(r"(?<!\.)\.\s*\.(?!\.)"), "."),
    (re.compile(r"^[\s.,;:)\]]+"), ""),
)

# Sentences about the record, not about the gene.
_RECORD = re.compile(
    r"^(?:publication|sequence|ccds|completeness|nomenclature|transcript variant)\s*notes?\s*:"
    r"|^(?:##|COMPLETENESS:)"
    r"|\bthis\s+refseq\b(?:\s+\w+){0,3}\s+(?:includes?|contains?|was|were|is|has been|records?|represents)\b"
    r"|^the\s+refseqs?\b.*\b(?:represents?|derived|based|created|modified|made)\b"
    r"|^the\s+genomic\s+coordinates\s+used\s+for\s+the\s+transcript\s+record\b"
    r"|^please\s+see\s+the\s+(?:entrez\s+)?gene\s+record\b"
    r"|^the\s+nomenclature\s+assigned\s+to\s+.*\bis\s+independent\s+of\s+other\s+organisms\b",
    re.IGNORECASE,
)
_RECORD_HINTS = ("note", "refseq", "##", "completeness", " record", "nomenclature")  # a cheap look before the search
# Sentences that say that there are splice variants, and nothing else: every word is one of these.
_ABOUT_VARIANTS = ("splic", "transcript", "isoform")
_EMPTY_WORD_LIST = """
    a about additional additionally all also alternate alternately alternative alternatively although an and another
    any are as at be been being biological both but by can could currently described despite determined detected
    different differentially distinct diverse do each eight eleven encode encoded encodes encoding exist exists exon
    exons existence expressed five for found four from full full-length gene generate generated generates generating
    give gives has have having however identical identified in is isoform isoforms it its known lead leading leads
    least length lengths many may more mrna mrnas multiple nature nine no non-coding noncoding not noted number
    numerous observed occur occurs of on one only or other others pattern patterns possible predicted presence present
    produce produced produces producing product products protein proteins protein-coding reported result resulted
    resulting results rise same seen sequence sequences seven several similar single six size sizes so some splice
    spliced splicing supported ten that the their them there these they this those three through to transcript
    transcripts transcriptional twelve two unclear unknown use used validity variant variants variable various varying
    via was well were which while whose with yet characterized confirmed established usage differ differing first
    complete completely supporting evidence alternatives clear date demonstrates did experimentally extensive fully
    literature loci locus natures non-protein promoter promoters structure suggested thought undergo undergoes utilize
    utilized utilizing verified yield yields yielding representing represent since until
"""
_EMPTY_WORDS = frozenset(_EMPTY_WORD_LIST.split())
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")

# Sentences that a program wrote out of annotations: the Alliance of Genome Resources, and RGD (in capitals) before it.
# They have no subject, and name a term without an article ("Part of the ..." is a writer's).
_GO_FORMS = r"""
      (?:(?:Predicted|Thought|Likely)\ to\ )?
      (?:[Ee]nables? | [Cc]ontributes?\ to | [Cc]olocalizes?\ with | [Aa]cts?\ upstream\ of | [Ee]xhibits?
        | (?:[Bb]e\ |Is\ )?(?:[Ll]ocated\ in|[Pp]art\ of|[Aa]ctive\ in|[Ii]nvolved\ in)
        | (?:[Bb]e\ |Is\ )?(?:[Aa]n?\ )?(?:[Ii]ntegral|[Ee]xtrinsic|[Ii]ntrinsic)\ component\ of
        | [Ll]ocalizes?\ to
      )\b(?!\ (?:the|this|these|its|an?)\b)
    | Predicted\ to\ (?:be\ an?|act|have)\b
    | An?\ (?:[\w-]+\ ){0,3}structural\ constituent\b
    | PARTICIPATES\ IN\b | FOUND\ IN\b | INVOLVED\ IN\b | ENCODES\ an?\ .{1,60}\bthat\b
"""
_OTHER_FORMS = r"""
      (?:Is|Was)\ (?:also\ )?expressed\ in\b
    | (?:Is\ i|I)mplicated\ in\b
    | (?:Several\ o|Human\ o|O)rtholog(?:s|\(s\))?\ (?:of\ this\ gene\ )?(?:(?:is|are|have\ been)\ )?implicated\ in\b
    | Orthologous\ to\b
    | Used\ to\ study\b
    | (?:Is\ a\ b|B)iomarkers?\ (?:of|for)\b
    | INTERACTS\ WITH\b | ASSOCIATED\ WITH\b
"""
FROM_GO = re.compile(rf"^(?:{_GO_FORMS})", re.VERBOSE)
"""Matches a sentence that a program wrote out of Gene Ontology annotations."""
FROM_TEMPLATE = re.compile(rf"^(?:{_GO_FORMS}|{_OTHER_FORMS})", re.VERBOSE)
"""Matches a sentence that a program wrote out of annotations of any kind."""


@dataclass(frozen=True)
class Cleaned:
    """A summary, and what was taken out of it.

    Attributes
    ----------
    text
        What is left; may be empty.
    provider
        Who provided it, of the tail `[provided by X, Mon YYYY]`; of several tails all, joined by `; `; else empty.
    text_date
        `YYYY-MM` of the same tail, of several the latest, or empty.
    pmids
        PubMed ids that were cited, in their order, unique.
    boilerplate
        Sentences about the record, or about the mere existence of splice variants, in their order.
    """

    text: str
    provider: str = ""
    text_date: str = ""
    pmids: tuple[str, ...] = ()
    boilerplate: tuple[str, ...] = ()


def clean(summary: str) -> Cleaned:
    """Take provider tails, PMIDs and boilerplate sentences out of a summary; normalise entities, Unicode and space.

    Cleaning what is clean changes nothing: `clean(clean(x).text).text == clean(x).text`.
    """
    providers: dict[str, None] = {}
    dates: set[str] = set()
    pmids: dict[str, None] = {}
    boilerplate: dict[str, None] = {}
    text, before = summary, None
    # What is taken out may bring two halves together ("&am" + "p;"), so this is done until nothing changes.
    while text != before:
        before = text
        text = _plain(text)
        if "rovided" in text or "upplied" in text:
            for tail in _TAIL.finditer(text):
                groups = tail.groupdict()
                who = next(filter(None, (groups[f"who{form}"] for form in range(3))), "").strip(" ,.;")
                if who:
                    providers[who] = None
                for form in range(2):
                    if year := groups[f"year{form}"]:
                        dates.add(f"{year}-{_MONTHS.index(groups[f'month{form}']) + 1:02d}")
            text = _TAIL.sub(" ", text)
        if "pmid" in (small := text.lower()) or "pubmed" in small:
            for pattern in (_BRACKETED_PMIDS, _PMIDS):
                for cited in pattern.finditer(text):
                    pmids.update(dict.fromkeys(_NUMBER.findall(cited.group())))
                text = pattern.sub(" ", text)
        text = _tidy(text)
        kept = []
        for sentence in sentences.split(text):
            if is_boilerplate(sentence):
                boilerplate[sentence] = None
            else:
                kept.append(sentence)
        text = " ".join(kept)
    return Cleaned(text, "; ".join(providers), max(dates, default=""), tuple(pmids), tuple(boilerplate))


def is_boilerplate(sentence: str) -> bool:
    """Whether a sentence is about the record, or says no more than that there are splice variants."""
    small = sentence.lower()
    if any(hint in small for hint in _RECORD_HINTS) and _RECORD.search(sentence):
        return True
    if not any(hint in small for hint in _ABOUT_VARIANTS):
        return False
    return all(word in _EMPTY_WORDS or word.isdecimal() for word in _WORD.findall(small))


def template_sentences(text: str) -> list[str]:
    """Return the sentences that were written by a program out of annotations (Alliance, RGD), in their order.

    They name tissues, diseases, orthologs and Gene Ontology terms, and so leak the answers into evaluations.
    """
    return [sentence for sentence in sentences.split(text) if FROM_TEMPLATE.match(sentence)]


def _plain(text: str) -> str:
    unescaped = _MARKUP.sub("", html.unescape(text)) if "<" in text or "&" in text else text
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", unescaped)).split())


def _tidy(text: str) -> str:
    for pattern, instead in _TIDY:
        text = pattern.sub(instead, text)
    return " ".join(text.split())
