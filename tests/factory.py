"""A small NCBI folder for tests: true layout and headers, real ids and symbols, summaries in our own words.

It holds the oddities of the real files: several summaries per gene, provider tails, PMIDs, template text, two genes
with one text, genes without summary or without a useful name, one-to-many orthologs, `-` for null, `|` lists, an
ambiguous synonym, retired ids, letters outside ASCII, rows of other species in between. The bytes are the same on
every run.
"""

import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from genetext import species
from genetext.text.snapshot import Snapshot

HUMAN_TAX, MOUSE_TAX, ZEBRAFISH_TAX = 9606, 10090, 7955
HUMAN_INFO = "GENE_INFO/Mammalia/Homo_sapiens.gene_info.gz"
MOUSE_INFO = "GENE_INFO/Mammalia/Mus_musculus.gene_info.gz"

HEADERS: Mapping[str, tuple[str, ...]] = {
    "gene_summary": ("#tax_id", "GeneID", "Source", "Summary"),
    "gene_info": (
        "#tax_id",
        "GeneID",
        "Symbol",
        "LocusTag",
        "Synonyms",
        "dbXrefs",
        "chromosome",
        "map_location",
        "description",
        "type_of_gene",
        "Symbol_from_nomenclature_authority",
        "Full_name_from_nomenclature_authority",
        "Nomenclature_status",
        "Other_designations",
        "Modification_date",
        "Feature_type",
    ),
    "gene_orthologs": ("#tax_id", "GeneID", "relationship", "Other_tax_id", "Other_GeneID"),
    "gene2go": ("#tax_id", "GeneID", "GO_ID", "Evidence", "Qualifier", "GO_term", "PubMed", "Category"),
    "gene_history": ("#tax_id", "GeneID", "Discontinued_GeneID", "Discontinued_Symbol", "Discontinue_Date"),
    "gene2ensembl": (
        "#tax_id",
        "GeneID",
        "Ensembl_gene_identifier",
        "RNA_nucleotide_accession.version",
        "Ensembl_rna_identifier",
        "protein_accession.version",
        "Ensembl_protein_identifier",
    ),
}

# gene id, symbol, synonyms, Ensembl id, full name, type; "-" is NCBI's null.
# What `Other_designations` lists, by GeneID.
DESIGNATIONS: Mapping[int, str] = {
    94233: "melanopsin|opsin-4|light receptor of the circadian clock",
    7157: "tumor protein p53|guardian of the genome|testicular tissue protein Li 7",
    30044: "melanopsin",
    100130705: "uncharacterized protein LOC100130705",
}

HUMAN: tuple[tuple[int, str, str, str, str, str], ...] = (
    (3, "A2MP1", "A2MP", "ENSG00000291190", "alpha-2-macroglobulin pseudogene 1", "pseudo"),
    (611, "OPN1SW", "BCP|BOP|CBT", "ENSG00000128617", "opsin 1, short wave sensitive", "protein-coding"),
    (672, "BRCA1", "BRCAI|BRCC1|FANCS|RNF53", "ENSG00000012048", "BRCA1 DNA repair associated", "protein-coding"),
    (2597, "GAPDH", "G3PD|GAPD", "ENSG00000111640", "glyceraldehyde-3-phosphate dehydrogenase", "protein-coding"),
    (2652, "OPN1MW", "CBD|GCP|GOP", "ENSG00000268221", "opsin 1, medium wave sensitive", "protein-coding"),
    (2773, "GNAI3", "87U6|ARCND1", "ENSG00000065135", "G protein subunit alpha i3", "protein-coding"),
    (3039, "HBA1", "HBA-T3|HBH", "ENSG00000206172", "hemoglobin subunit alpha 1", "protein-coding"),
    (3040, "HBA2", "HBA-T2|HBH", "ENSG00000188536", "hemoglobin subunit alpha 2", "protein-coding"),
    (3630, "INS", "IDDM|ILPR", "ENSG00000254647", "insulin", "protein-coding"),
    (4512, "COX1", "COI|MTCO1", "ENSG00000198804", "mitochondrially encoded cytochrome c oxidase I", "protein-coding"),
    (4735, "SEPTIN2", "DIFF6|NEDD5|Pnutl3|SEPT2", "ENSG00000168385", "septin 2", "protein-coding"),
    (
        4919,
        "ROR1",
        "NTRKR1|dJ537F10.1",
        "ENSG00000185483",
        "receptor tyrosine kinase like orphan receptor 1",
        "protein-coding",
    ),
    (5080, "PAX6", "AN|AN2|WAGR", "ENSG00000007372", "paired box 6", "protein-coding"),
    (5457, "POU4F1", "BRN3A|RDC-1", "ENSG00000152192", "POU class 4 homeobox 1", "protein-coding"),
    (5956, "OPN1LW", "CBP|RCP|ROP", "ENSG00000102076", "opsin 1, long wave sensitive", "protein-coding"),
    (6010, "RHO", "CSNBAD1|OPN2|RP4", "ENSG00000163914", "rhodopsin", "protein-coding"),
    (6095, "RORA", "NR1F1|ROR1|RZRA", "ENSG00000069667", "RAR related orphan receptor A", "protein-coding"),
    (7157, "TP53", "BCC7|LFS1|P53|TRP53", "ENSG00000141510", "tumor protein p53", "protein-coding"),
    (7503, "XIST", "DXS1089|LINC00001", "ENSG00000229807", "X inactive specific transcript", "ncRNA"),
    (9212, "AURKB", "AIK2|AIM-1|AIM1|ARK2", "ENSG00000178999", "aurora kinase B", "protein-coding"),
    (51151, "SLC45A2", "AIM1|MATP|OCA4", "ENSG00000164175", "solute carrier family 45 member 2", "protein-coding"),
    (
        55016,
        "MARCHF1",
        "MARCH1|RNF171",
        "ENSG00000145416",
        "membrane associated ring-CH-type finger 1",
        "protein-coding",
    ),
    (94233, "OPN4", "MOP", "ENSG00000122375", "opsin 4", "protein-coding"),
    (401546, "C9orf152", "bA470J20.2", "ENSG00000188959", "chromosome 9 open reading frame 152", "protein-coding"),
    (406991, "MIR21", "MIRN21|hsa-mir-21", "ENSG00000284190", "microRNA 21", "ncRNA"),
    (100130705, "LOC100130705", "-", "-", "uncharacterized LOC100130705", "protein-coding"),
)

MOUSE: tuple[tuple[int, str, str, str, str, str], ...] = (
    (12057, "Opn1sw", "Blue Opsin|S Opsin", "ENSMUSG00000058831", "opsin 1, short wave sensitive", "protein-coding"),
    (12189, "Brca1", "-", "ENSMUSG00000017146", "breast cancer 1, early onset", "protein-coding"),
    (14433, "Gapdh", "Gapd", "ENSMUSG00000057666", "glyceraldehyde-3-phosphate dehydrogenase", "protein-coding"),
    (14679, "Gnai3", "Galphai3|Gnai-3", "ENSMUSG00000000001", "G protein subunit alpha i3", "protein-coding"),
    (15122, "Hba-a1", "Hba1", "ENSMUSG00000069919", "hemoglobin alpha, adult chain 1", "protein-coding"),
    (16333, "Ins1", "Ins-1", "ENSMUSG00000035804", "insulin I", "protein-coding"),
    (16334, "Ins2", "Ins-2|Mody", "ENSMUSG00000000215", "insulin II", "protein-coding"),
    (18508, "Pax6", "Dey|Sey", "ENSMUSG00000027168", "paired box 6", "protein-coding"),
    (
        18996,
        "Pou4f1",
        "Brn3|Brn3a",
        "ENSMUSG00000048349",
        "POU domain, class 4, transcription factor 1",
        "protein-coding",
    ),
    (19883, "Rora", "Nr1f1|sg|tmgc26", "ENSMUSG00000032238", "RAR-related orphan receptor alpha", "protein-coding"),
    (22059, "Trp53", "Tp53|p53", "ENSMUSG00000059552", "transformation related protein 53", "protein-coding"),
    (30044, "Opn4", "-", "ENSMUSG00000021799", "opsin 4 (melanopsin)", "protein-coding"),
    (69300, "1700001C02Rik", "-", "ENSMUSG00000039396", "RIKEN cDNA 1700001C02 gene", "protein-coding"),
    (212541, "Rho", "Noerg1|RP4", "ENSMUSG00000030324", "rhodopsin", "protein-coding"),
    (213742, "Xist", "-", "ENSMUSG00000086503", "inactive X specific transcripts", "lncRNA"),
    (433023, "Gm5493", "EG433023", "-", "predicted gene 5493", "protein-coding"),
)

ZEBRAFISH: tuple[tuple[int, str, str, str, str, str], ...] = (
    (30295, "rho", "fb06f01", "ENSDARG00000002193", "rhodopsin", "protein-coding"),
    (30567, "pax6a", "pax-6", "ENSDARG00000103379", "paired box 6a", "protein-coding"),
    (30590, "tp53", "drp53", "ENSDARG00000035559", "tumor protein p53", "protein-coding"),
    (60639, "pax6b", "pax6.2", "ENSDARG00000045936", "paired box 6b", "protein-coding"),
)

_CONE = (
    "Cones that answer to light of longer wavelengths carry this pigment, a receptor of seven helices with bound "
    "retinal. Unequal crossing over within its tandem array leaves some men unable to tell red from green. "
)
_GLOBIN = (
    "Makes the alpha chain, two of which join two beta chains in the oxygen carrier of red blood cells. Loss of "
    "copies of this gene leads to alpha thalassemia. "
)
SUMMARIES: tuple[tuple[int, int, str, str], ...] = (
    (
        HUMAN_TAX,
        611,
        "RefSeq",
        "Blue cones of the retina carry this opsin; changes in it cause tritan color blindness.",
    ),
    (
        HUMAN_TAX,
        672,
        "RefSeq",
        "A nuclear protein that keeps the genome stable by guiding the repair of broken DNA through homologous "
        "recombination (PMID: 20301425). Carriers of harmful variants have a high risk of breast and ovarian cancer. "
        "Multiple transcript variants encoding different isoforms have been found for this gene. "
        "[provided by RefSeq, May 2020]",
    ),
    (
        HUMAN_TAX,
        672,
        "OMIM",
        "Susceptibility to breast cancer maps to this locus on 17q21.[supplied by OMIM, Mar 2008]",
    ),
    (HUMAN_TAX, 2597, "RefSeq", "An enzyme of sugar breakdown that turns a triose phosphate into its bisphosphate."),
    (HUMAN_TAX, 2652, "RefSeq", _CONE + "[provided by RefSeq, Mar 2009]"),
    (
        HUMAN_TAX,
        2773,
        "Alliance",
        "Enables GTPase activity. Involved in cell cycle. Located in centrosome and midbody. Implicated in "
        "auriculocondylar syndrome 1. [provided by Alliance of Genome Resources, Jul 2025]",
    ),
    (HUMAN_TAX, 3039, "RefSeq", _GLOBIN + "[provided by RefSeq, Jul 2008]"),
    (HUMAN_TAX, 3040, "RefSeq", _GLOBIN + "[provided by RefSeq, Jul 2008]"),
    (
        HUMAN_TAX,
        3630,
        "RefSeq",
        "A peptide hormone of pancreatic β cells that lowers blood glucose by driving its uptake into muscle and fat. "
        "Variants of the gene lead to neonatal diabetes [PubMed 17855560]. "
        "Alternative splicing results in multiple transcript variants. [provided by RefSeq, Jun 2020]",
    ),
    (HUMAN_TAX, 3630, "Alliance", "Enables hormone activity. Involved in glucose homeostasis."),
    (
        HUMAN_TAX,
        5080,
        "RefSeq",
        "A transcription factor with a paired domain and a homeodomain, needed to form the eye. Loss of one copy "
        "leads to absence of the iris. Publication Note:  This RefSeq record includes a subset of the publications "
        "that are available for this gene. Please see the Gene record to access additional publications. "
        "[provided by RefSeq, Jul 2008]",
    ),
    (
        HUMAN_TAX,
        5457,
        "RefSeq",
        "Drives the fate of sensory neurons and of retinal ganglion cells. [provided by RefSeq]",
    ),
    (HUMAN_TAX, 5956, "RefSeq", _CONE + "[provided by RefSeq, Mar 2009]"),
    (HUMAN_TAX, 6010, "RefSeq", ""),
    (
        HUMAN_TAX,
        6010,
        "OMIM",
        "The pigment of rods, which see in dim light. When 11-cis-retinal absorbs a photon, the protein activates "
        "transducin (Smith et al., 2001 [PubMed 11111111]).[supplied by OMIM, Jul 2002]",
    ),
    (HUMAN_TAX, 6095, "RefSeq", "A nuclear receptor that takes part in the circadian clock &amp; in the cerebellum."),
    (
        HUMAN_TAX,
        7157,
        "RefSeq",
        "A tumor suppressor that answers to many kinds of stress by halting the cell cycle, e.g. after DNA damage, or "
        "by cell death (PMIDs: 12032546, 20937277). It binds DNA as p53. Most human cancers carry changes in it. "
        "[provided by RefSeq, Dec 2016]",
    ),
    (HUMAN_TAX, 7503, "RefSeq", "A long RNA that coats and silences one X chromosome. [provided by RefSeq, May 2015]"),
    (
        HUMAN_TAX,
        94233,
        "RefSeq",
        "The light sensor of those retinal ganglion cells that see without rods and cones. It sets the body clock and "
        "the width of the pupil. Two transcript variants encoding different isoforms have been found for this gene. "
        "[provided by RefSeq, Jul 2008]",
    ),
    (
        HUMAN_TAX,
        406991,
        "RefSeq",
        "A short RNA that is high in many tumors. The RefSeq represents the predicted microRNA stem-loop. "
        "[provided by RefSeq, Sep 2009]",
    ),
    (
        MOUSE_TAX,
        14679,
        "Alliance",
        "Predicted to enable GTPase activity. Acts upstream of or within negative regulation of synaptic transmission. "
        "Located in cytosol. Is expressed in several structures, including early conceptus; inner ear; and oocyte. "
        "Human ortholog(s) of this gene implicated in auriculocondylar syndrome 1. Orthologous to human GNAI3 "
        "(G protein subunit alpha i3). [provided by Alliance of Genome Resources, Apr 2022]",
    ),
    (
        MOUSE_TAX,
        22059,
        "RefSeq",
        "Mice without this tumor suppressor develop lymphoma within half a year. [provided by RefSeq, Aug 2015]",
    ),
    (ZEBRAFISH_TAX, 30295, "Alliance", "Is expressed in eye. Orthologous to human RHO (rhodopsin)."),
    (ZEBRAFISH_TAX, 30590, "RefSeq", "The tumor suppressor of the fish. [provided by RefSeq, Jan 2010]"),
)

# tax id, gene, tax id of the other, the other; human comes first nearly always, but not quite.
ORTHOLOGS: tuple[tuple[int, int, int, int], ...] = (
    *((HUMAN_TAX, human, MOUSE_TAX, mouse) for human, mouse in ((611, 12057), (672, 12189), (2597, 14433))),
    (HUMAN_TAX, 2773, MOUSE_TAX, 14679),
    *((HUMAN_TAX, human, MOUSE_TAX, 15122) for human in (3039, 3040)),
    *((HUMAN_TAX, 3630, MOUSE_TAX, mouse) for mouse in (16333, 16334)),
    *((HUMAN_TAX, 5080, ZEBRAFISH_TAX, fish) for fish in (30567, 60639)),
    *((HUMAN_TAX, human, MOUSE_TAX, mouse) for human, mouse in ((5080, 18508), (5457, 18996), (6010, 212541))),
    (MOUSE_TAX, 19883, HUMAN_TAX, 6095),
    *((HUMAN_TAX, human, MOUSE_TAX, mouse) for human, mouse in ((7157, 22059), (94233, 30044), (401546, 69300))),
    *((HUMAN_TAX, human, ZEBRAFISH_TAX, fish) for human, fish in ((6010, 30295), (7157, 30590))),
    (MOUSE_TAX, 18508, ZEBRAFISH_TAX, 30567),
)

# tax id, gene, GO id, evidence, qualifier, term, category
GO: tuple[tuple[int, int, str, str, str, str, str], ...] = (
    *(
        (HUMAN_TAX, gene, "GO:0007601", "TAS", "involved_in", "visual perception", "Process")
        for gene in (611, 2652, 5956, 6010, 94233)
    ),
    (HUMAN_TAX, 94233, "GO:0060041", "IEA", "NOT involved_in", "retina development in camera-type eye", "Process"),
    (HUMAN_TAX, 94233, "GO:0043052", "IMP", "involved_in", "thermotaxis", "Process"),
    (HUMAN_TAX, 94233, "GO:0005886", "IDA", "located_in", "plasma membrane", "Component"),
    (HUMAN_TAX, 611, "GO:0005886", "IDA", "located_in", "plasma membrane", "Component"),
    *(
        (HUMAN_TAX, gene, "GO:0005515", "IPI", "enables", "protein binding", "Function")
        for gene in (672, 7157, 9212, 55016, 100130705)
    ),
    (HUMAN_TAX, 9212, "GO:0004674", "IDA", "enables", "protein serine/threonine kinase activity", "Function"),
    (HUMAN_TAX, 9212, "GO:0004674", "TAS", "enables", "protein serine/threonine kinase activity", "Function"),
    (HUMAN_TAX, 9212, "GO:0051301", "IEA", "involved_in", "cell division", "Process"),
    (HUMAN_TAX, 4735, "GO:0051301", "IEA", "involved_in", "cell division", "Process"),
    (HUMAN_TAX, 4735, "GO:0031105", "IDA", "part_of", "septin complex", "Component"),
    (
        HUMAN_TAX,
        4512,
        "GO:0006123",
        "IBA",
        "involved_in",
        "mitochondrial electron transport, cytochrome c to oxygen",
        "Process",
    ),
    (HUMAN_TAX, 401546, "GO:0008150", "ND", "involved_in", "biological_process", "Process"),
    (MOUSE_TAX, 12057, "GO:0007601", "IMP", "involved_in", "visual perception", "Process"),
    (MOUSE_TAX, 12189, "GO:0006281", "IDA", "involved_in", "DNA repair", "Process"),
    (MOUSE_TAX, 16333, "GO:0042593", "IDA", "involved_in", "glucose homeostasis", "Process"),
    (MOUSE_TAX, 16334, "GO:0042593", "IDA", "involved_in", "glucose homeostasis", "Process"),
    (ZEBRAFISH_TAX, 30295, "GO:0007601", "IEA", "involved_in", "visual perception", "Process"),
)

# tax id, the gene that took its place or "-", retired id, retired symbol, date; 900002 was replaced twice.
HISTORY: tuple[tuple[int, str, int, str, str], ...] = (
    (HUMAN_TAX, "94233", 900001, "MELANOPSIN1", "20050701"),
    (HUMAN_TAX, "900003", 900002, "SEPT2A", "20060102"),
    (HUMAN_TAX, "4735", 900003, "SEPT2B", "20070304"),
    (HUMAN_TAX, "-", 900004, "LOC900004", "20080910"),
    (MOUSE_TAX, "30044", 900101, "Gm900101", "20110311"),
    (MOUSE_TAX, "-", 900102, "Gm900102", "20120423"),
    (ZEBRAFISH_TAX, "30295", 900201, "zgc:900201", "20130514"),
)

ENSEMBL: tuple[tuple[int, int, str], ...] = (
    (HUMAN_TAX, 7157, "ENSG00000141510.19"),
    (HUMAN_TAX, 7157, "ENSG00000141510"),
    (HUMAN_TAX, 3039, "ENSG00000999001"),
    (HUMAN_TAX, 100130705, "ENSG00000999002.1"),
    (MOUSE_TAX, 433023, "ENSMUSG00000999003"),
    (ZEBRAFISH_TAX, 30295, "ENSDARG00000002193"),
)

_THEMES = ("light", "sugar", "stress", "iron", "touch", "heat", "salt", "sleep", "growth", "repair", "fat", "sound")
_PLACES = ("retina", "liver", "kidney", "skin", "cortex", "gut", "muscle", "bone", "lung", "thymus", "cochlea")
EXTRA_FIRST_ID = 20_000_001


def write_ncbi(directory: Path, *, n_extra: int = 0) -> Path:
    """Write the folder that NCBI calls `gene/DATA/` into `directory`, and return `directory`.

    Parameters
    ----------
    directory
        Made if absent; files in it are replaced.
    n_extra
        How many more human protein-coding genes to invent (ids from `EXTRA_FIRST_ID`), each with a summary of its
        own, for tests that need some length.
    """
    extra = [(EXTRA_FIRST_ID + number, f"EXTRA{number}") for number in range(n_extra)]
    human = [
        *_info(HUMAN_TAX, HUMAN),
        *_info(HUMAN_TAX, [(i, s, "-", "-", f"extra protein {s[5:]}", "protein-coding") for i, s in extra]),
    ]
    mouse = _info(MOUSE_TAX, MOUSE)
    fish = _info(ZEBRAFISH_TAX, ZEBRAFISH)
    header = HEADERS["gene_info"]
    write_table(directory / HUMAN_INFO, header, human)
    write_table(directory / MOUSE_INFO, header, mouse)
    write_table(directory / "gene_info.gz", header, [*fish, *human, *mouse])
    summaries = [*SUMMARIES, *((HUMAN_TAX, gene_id, "RefSeq", _invented(gene_id)) for gene_id, _ in extra)]
    write_table(directory / "gene_summary.gz", HEADERS["gene_summary"], sorted(summaries, key=lambda row: row[0]))
    write_table(
        directory / "gene_orthologs.gz",
        HEADERS["gene_orthologs"],
        [(tax, gene, "Ortholog", other_tax, other) for tax, gene, other_tax, other in ORTHOLOGS],
    )
    write_table(directory / "gene2go.gz", HEADERS["gene2go"], [(*row[:6], "-", row[6]) for row in GO])
    write_table(directory / "gene_history.gz", HEADERS["gene_history"], HISTORY)
    write_table(directory / "gene2ensembl.gz", HEADERS["gene2ensembl"], [(*row, "-", "-", "-", "-") for row in ENSEMBL])
    return directory


def edit_summaries(directory: Path, changes: Mapping[int, str]) -> None:
    """Give each gene of `changes` a new summary: the first of its rows is replaced, or a human RefSeq row is added."""
    path = directory / "gene_summary.gz"
    left = dict(changes)
    rows = []
    for line in gzip.decompress(path.read_bytes()).decode().split("\n")[1:-1]:
        tax_id, gene_id, source, summary = line.split("\t")
        rows.append((tax_id, gene_id, source, left.pop(int(gene_id), summary)))
    rows += [(str(HUMAN_TAX), str(gene_id), "RefSeq", text) for gene_id, text in left.items()]
    write_table(path, HEADERS["gene_summary"], rows)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write one of NCBI's tables: tab-separated, gzip, the same bytes on every run."""
    lines = ["\t".join(header), *("\t".join(map(str, row)) for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
    return path


def ncbi_files(directory: Path, of: str = "human") -> dict[str, Path]:
    """Return the files of `write_ncbi` under the names by which `parse.assemble` takes them."""
    known = species.find(of)
    info = {"human": HUMAN_INFO, "mouse": MOUSE_INFO}.get(known.name, "gene_info.gz")
    files = {"gene_info": directory / info}
    for name in ("gene_summary", "gene_orthologs", "gene2go", "gene_history", "gene2ensembl"):
        files[name] = directory / f"{name}.gz"
    if known.name != "human":
        files["human_gene_info"] = directory / HUMAN_INFO
    return files


def write_snapshot(path: Path, *, source: Path, of: str = "human") -> Snapshot:
    """Parse the folder `source` and write the snapshot of one species to `path`."""
    from genetext.text import parse

    known = species.find(of)
    content = {
        "species": {"tax_id": known.tax_id, "name": known.name, "latin": known.latin},
        "source": {"kind": "ncbi", "from": "test", "files": {}},
    }
    return Snapshot.write(path, tables=parse.assemble(ncbi_files(source, of), known), content=content)


def _info(tax_id: int, genes: Iterable[tuple[int, str, str, str, str, str]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for gene_id, symbol, synonyms, ensembl, name, kind in genes:
        references = [f"AllianceGenome:X:{gene_id}", *([f"Ensembl:{ensembl}"] if ensembl != "-" else [])]
        # NCBI files the mitochondrial genes under a symbol of its own; the authority's is the one in use.
        official = {"COX1": "MT-CO1"}.get(symbol, symbol)
        authority = ("-", "-", "-") if symbol.startswith(("LOC", "EXTRA")) else (official, name, "O")
        known = (tax_id, gene_id, symbol, "-", synonyms, "|".join(references), "1", "1q1", name, kind)
        rows.append((*known, *authority, DESIGNATIONS.get(gene_id, "-"), "20260101", "-"))
    return rows


def _invented(gene_id: int) -> str:
    theme, place = _THEMES[gene_id % len(_THEMES)], _PLACES[gene_id % len(_PLACES)]
    other = _THEMES[(gene_id // 7) % len(_THEMES)]
    return (
        f"Protein number {gene_id} answers to {theme} in the {place} and passes the signal on to {other}. "
        "[provided by RefSeq, Jul 2008]"
    )
