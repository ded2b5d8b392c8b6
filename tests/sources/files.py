"""Small files in each provider's layout, with the oddities of the real ones; genes are those of `tests.factory`."""

import gzip
import io
import zipfile
from pathlib import Path

GENERIFS = """\
#Tax ID\tGene ID\tPubMed ID (PMID) list\tlast update timestamp\tGeneRIF text
7955\t30044\t111\t2010-01-01 00:00\tmelanopsin cells of fish sense light
9606\t7157\t100,101\t2012-05-06 07:08\tp53 stops the cell cycle after DNA damage.
9606\t7157\t102\t2019-02-03 00:00\tp53 stops the cell cycle after damage of DNA.
9606\t7157\t103\t2021-02-03 00:00\tMutations in this gene cause tumors of many tissues (PMID: 999).
9606\t7157\t104\t2008-01-01 00:00\tObservational study of gene-disease association. (HuGE Navigator)
9606\t94233\t105\t2015-01-01 00:00\tmelanopsin sets the clock; blue light is seen best
9606\t999999999\t106\t2015-01-01 00:00\tof a gene that nobody knows
10090\t30945\t107\t2016-01-01 00:00\tof a mouse gene
"""
UNIPROT = (
    "Entry\tGene Names\tOrganism (ID)\tGeneID\tFunction [CC]\tTissue specificity\tSubcellular location [CC]\t"
    "Involvement in disease\n"
    "P04637\tTP53 P53\t9606\t7157;\tFUNCTION: Multifunctional transcription factor (PubMed:1, PubMed:2). Guards the "
    "genome. {ECO:0000269|PubMed:3}. [Isoform 2]: Does not.\tTISSUE SPECIFICITY: Ubiquitous. {ECO:0000269}.\t"
    "SUBCELLULAR LOCATION: Cytoplasm {ECO:1}. Nucleus {ECO:2}. Note=Moves to the nucleus.\t"
    "DISEASE: Esophageal cancer (ESCR) [MIM:133239]: A tumor. {ECO:3}.\n"
    "P69905\tHBA1; HBA2\t9606\t3039;3040;\tFUNCTION: Carries oxygen. {ECO:1}\t\t\t\n"
    "Q9UHM6\tOPN4 MOP\t9606\t\tFUNCTION: Photoreceptor of the clock (PubMed:4).\t\t\t\n"
    "P00000\tMouseGene\t10090\t\tFUNCTION: Of a mouse.\t\t\t\n"
)
ALLIANCE = """\
# Alliance of Genome Resources
# species: Mus musculus
MGI:1353425\tOpn4\tEnables G protein-coupled photoreceptor activity. Involved in thermotaxis.
MGI:95773\tGnai3\tNo description available
"""
HPA = (
    "Gene\tGene synonym\tEnsembl\tProtein class\tSubcellular location\tRNA tissue category\tRNA TS TPM\n"
    '"INS"\t\tENSG00000254647\t"Cancer-related genes, Predicted secreted proteins"\t\tTissue enriched\t'
    "pancreas: 12000.1\n"
    "OPN4\tMOP\tENSG00000122375\tG-protein coupled receptors\tPlasma membrane, Cytosol\tTissue enhanced\tretina: 2.1;"
    "brain: 1.0\n"
    "GAPDH\t\tENSG00000111640\tEnzymes\tCytosol\tExpressed in all\t\n"
)
REACTOME = """\
7157\tR-HSA-69541\thttps://reactome.org/x\tStabilization of p53\tTAS\tHomo sapiens
7157\tR-HSA-69488\thttps://reactome.org/x\tG1/S DNA Damage Checkpoints\tTAS\tHomo sapiens
7157\tR-HSA-69541\thttps://reactome.org/x\tStabilization of p53\tIEA\tHomo sapiens
30945\tR-MMU-1\thttps://reactome.org/x\tOpsins\tIEA\tMus musculus
"""
MARKERS = """\
organ\tcell_type\tmarker_kind\tmarker
eye\tretinal ganglion cell\tgene\tOPN4
eye\trod\tgene\tRHO
brain\tretinal ganglion cell\tgene\tOPN4
brain\tglutamatergic neuron\tgene\tOPN4
blood\tB cell\tprotein\tCD19
vasculature\tendothelial cell\tgene\tINS
"""


def packed(text: str) -> bytes:
    """Return a text gzipped, the same bytes on every run."""
    return gzip.compress(text.encode(), mtime=0)


def zipped(text: str, name: str = "proteinatlas.tsv") -> bytes:
    """Return a zip archive of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def write_providers(folder: Path) -> Path:
    """Write every provider's file into one folder, under the name that its service has, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "generifs_basic.gz": packed(GENERIFS),
        "stream": packed(UNIPROT),
        "GENE-DESCRIPTION-TSV_MGI.tsv.gz": packed(ALLIANCE),
        "proteinatlas.tsv.zip": zipped(HPA),
        "NCBI2Reactome.txt": REACTOME.encode(),
    }.items():
        (folder / name).write_bytes(content)
    return folder
