"""Whole species from NCBI's files over HTTP, and questions whose answers everybody knows."""

import numpy as np
import pandas as pd
import pytest

from genetext.build import build
from genetext.index import GeneIndex
from tests.servers.ncbi import Fault, NcbiServer, html

pytestmark = [pytest.mark.real, pytest.mark.slow]

# A question that means one gene, and genes of which one has to be among its three nearest.
KNOWN = {
    "OPN4": (
        "photopigment of intrinsically photosensitive retinal ganglion cells",
        {"OPN3", "OPN5", "OPN1MW", "OPN1LW"},
    ),
    "INS": ("the hormone insulin, which lowers blood glucose", {"INSR", "IRS1", "INSL4", "IGF1"}),
    "TP53": ("p53, the tumor suppressor of the cellular stress response", {"TP63", "TP73"}),
    "BRCA1": ("breast cancer 1, DNA repair by homologous recombination", {"BRCA2", "BRIP1", "BARD1"}),
    "HBB": ("beta chain of hemoglobin, sickle cell anemia", {"HBD", "HBA1", "HBA2", "HBG1"}),
    "CFTR": ("chloride channel mutated in cystic fibrosis", {"ABCC9", "ABCA13", "ABCF2", "TAP1"}),
    "PAX6": ("transcription factor of eye development, aniridia", {"PAX2", "PAX3", "SIX4", "EYA2"}),
    "CD3E": ("subunit of the T-cell receptor CD3 complex", {"CD3G", "CD3D", "CD247"}),
    "MYH7": ("heavy chain of cardiac myosin, hypertrophic cardiomyopathy", {"MYH6", "MYH7B", "MYL2"}),
    "APOE": ("apolipoprotein of chylomicrons, risk of Alzheimer disease", {"APOC1", "APOC2", "APOC3"}),
}


@pytest.fixture
def server(real_data):
    with NcbiServer(real_data / "ncbi") as server:
        yield server


def test_a_whole_human_build_survives_a_bad_day_at_the_server(server, tmp_path):
    server.fault("gene_summary.gz", Fault(status=429, retry_after="1"), html(), Fault(cut=700_000))
    server.fault("gene2go.gz", Fault(status=503), Fault(stall=500_000, seconds=2), Fault(truncate=100_000))
    stormy = build("human", encoder="lexical", source=server.url, root=tmp_path / "stormy")
    calm = build("human", encoder="lexical", source=server.url, root=tmp_path / "calm")
    assert stormy.index.fingerprint == calm.index.fingerprint
    cover = calm.report.coverage
    assert cover["genes"] == 20_608
    assert cover["summary"] == 12_913
    assert len(calm.index) == cover["genes"] - cover["none"]
    assert "OPN5" in calm.index.neighbors("OPN4", k=5)["symbol"].tolist()
    assert calm.index.search("hemoglobin beta chain of sickle cell anemia", k=3)["symbol"].iloc[0] == "HBB"
    again = build("human", encoder="lexical", source=server.url, root=tmp_path / "calm")
    assert again.report.unchanged


def test_a_whole_mouse_build_says_whose_text_it_has(server, tmp_path):
    built = build("mouse", encoder="lexical", source=server.url, root=tmp_path)
    cover = built.report.coverage
    assert cover["genes"] == 26_371
    assert cover["summary"] == 2_556
    assert cover["ortholog"] == 9_730
    opn4 = built.index.gene("Opn4")
    assert (opn4["source"], opn4["ortholog_gene_id"], opn4["fallback"]) == ("ortholog:RefSeq", 94233, True)
    genes = built.index.genes
    assert (genes["ortholog_gene_id"].notna() == genes["source"].str.startswith("ortholog")).all()


def test_a_transformer_on_a_subset_answers_what_everybody_knows(server, real_data, tmp_path):
    info = real_data / "ncbi" / "gene" / "DATA" / "GENE_INFO" / "Mammalia" / "Homo_sapiens.gene_info.gz"
    table = pd.read_csv(info, sep="\t", usecols=["#tax_id", "Symbol", "type_of_gene"])
    coding = table.loc[(table["type_of_gene"] == "protein-coding") & (table["#tax_id"] == 9606), "Symbol"].to_numpy()
    wanted = {*KNOWN, *(gene for _, those in KNOWN.values() for gene in those)}
    chosen = [*wanted, *np.random.default_rng(0).choice(coding, 2500, replace=False)]
    index = build("human", encoder="minilm", source=server.url, genes=chosen, root=tmp_path, name="some").index
    assert len(index) > 2400
    for gene, (question, kin) in KNOWN.items():
        found = index.search(question, k=10)["symbol"].tolist()
        assert gene in found, f"{gene} is not among {found}"
        near = index.neighbors(gene, k=3)["symbol"].tolist()
        assert kin & set(near), f"of {kin} none is among the neighbours of {gene}: {near}"
    assert GeneIndex.open("human/some", root=tmp_path).verify() == []
