"""The facts that ship: that they open, what they hold, and how the script chooses it."""

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genetext
from genetext import manifest, species
from genetext.errors import SnapshotError
from genetext.species import HUMAN, MOUSE
from genetext.text.facts import open_facts, species_with_facts
from genetext.text.snapshot import SCHEMAS, Snapshot
from scripts.facts_genes import Gene, match_old_symbols, merge_hgnc, mouse_from_ncbi, mouse_from_packages
from scripts.facts_go import Ontology, go_table, information, most_specific, read_annotations
from scripts.make_facts import genes_frame, write_snapshot

DATA = Path(genetext.__file__).parent / "data" / "facts"


@pytest.fixture(scope="module")
def human() -> Snapshot:
    return open_facts(HUMAN)


@pytest.fixture(scope="module")
def mouse() -> Snapshot:
    return open_facts(MOUSE)


def row(snapshot: Snapshot, symbol: str) -> pd.Series:
    found = snapshot.genes[snapshot.genes["symbol"] == symbol]
    assert len(found) == 1, f"{symbol}: {len(found)} rows"
    return found.iloc[0]


def members(snapshot: Snapshot, table: str, **where: object) -> pd.DataFrame:
    frame = snapshot.frame(table)
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


# --- what ships -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", [HUMAN, MOUSE], ids=lambda of: of.name)
def test_every_byte_is_what_the_manifest_says(of):
    snapshot = open_facts(of)
    assert manifest.verify(snapshot.path, snapshot.manifest) == []
    assert snapshot.species == of
    assert snapshot.manifest["source"]["kind"] == "facts"
    assert {name: snapshot.table(name).schema for name in SCHEMAS} == dict(SCHEMAS)
    # What ships was made before there was a table of designations, and reads as one that is empty.
    counts = {"designations": 0, **snapshot.manifest["counts"]}
    assert {name: snapshot.table(name).num_rows for name in SCHEMAS} == counts


def test_the_manifest_says_from_what_and_how_old(human, mouse):
    for snapshot in (human, mouse):
        for source in snapshot.manifest["source"]["where"]:
            assert {"package", "what", "data_date", "data_licence", "sha256"} <= set(source)
            assert "/" not in source["file"]
    assert len(mouse.manifest["source"]["where"]) > len(human.manifest["source"]["where"])


@pytest.mark.parametrize(("of", "megabytes"), [(HUMAN, 3.2), (MOUSE, 2.2)], ids=["human", "mouse"])
def test_the_facts_are_small(of, megabytes):
    size = sum(file.stat().st_size for file in (DATA / of.name).iterdir())
    assert size <= megabytes * 1e6


def test_another_species_is_refused_by_name():
    assert species_with_facts() == ("human", "mouse")
    with pytest.raises(SnapshotError, match="no facts for zebrafish, only for human and mouse"):
        open_facts(species.find("zebrafish"))


def test_the_facts_are_opened_where_they_lie(human, own_cache):
    assert human.path == DATA / "human"
    assert not own_cache.exists()


@pytest.mark.parametrize(
    ("symbol", "gene_id", "ensembl_id"),
    [
        ("OPN4", 94233, "ENSG00000122375"),
        ("TP53", 7157, "ENSG00000141510"),
        ("POU4F1", 5457, "ENSG00000152192"),
        ("RBPMS", 11030, "ENSG00000157110"),
    ],
)
def test_well_known_human_genes(human, symbol, gene_id, ensembl_id):
    found = row(human, symbol)
    assert found["gene_id"] == gene_id
    assert list(found["ensembl_ids"]) == [ensembl_id]
    assert found["gene_type"] == "protein-coding"
    assert found["id_tax_id"] == HUMAN.tax_id


def test_previous_symbols_are_told_from_synonyms(human):
    assert "BRN3A" in row(human, "POU4F1")["previous"]
    assert "p53" in row(human, "TP53")["synonyms"]
    overlap = [
        symbol
        for symbol, synonyms, previous in human.genes[["symbol", "synonyms", "previous"]].itertuples(index=False)
        if symbol in synonyms or symbol in previous or set(synonyms) & set(previous)
    ]
    assert overlap == []


def test_melanopsin_is_said_to_be_a_photoreceptor(human):
    terms = members(human, "go", gene_id=94233)
    assert {
        "G protein-coupled photoreceptor activity",
        "phototransduction",
        "cellular response to light stimulus",
    } <= set(terms["term"])


def test_melanopsin_of_the_mouse(mouse):
    found = row(mouse, "Opn4")
    assert list(found["ensembl_ids"]) == ["ENSMUSG00000021799"]
    assert (found["gene_id"], found["id_tax_id"]) == (30044, MOUSE.tax_id)
    (ortholog,) = members(mouse, "orthologs", gene_id=30044).itertuples()
    assert (ortholog.human_gene_id, ortholog.human_symbol, ortholog.one_to_one) == (94233, "OPN4", True)
    assert not members(mouse, "go", gene_id=94233, tax_id=HUMAN.tax_id).empty


def test_a_mouse_gene_with_two_human_orthologs_is_not_one_to_one(mouse):
    cd8b1 = members(mouse, "orthologs", gene_id=row(mouse, "Cd8b1")["gene_id"])
    assert set(cd8b1["human_symbol"]) == {"CD8B", "CD8B2"}
    assert not cd8b1["one_to_one"].any()


@pytest.mark.parametrize("of", [HUMAN, MOUSE], ids=lambda of: of.name)
def test_genes_are_whole_and_unique(of):
    genes = open_facts(of).genes
    assert genes["gene_id"].is_monotonic_increasing
    assert genes["gene_id"].is_unique
    assert (genes["gene_id"] > 0).all()
    assert (genes["symbol"].str.strip() == genes["symbol"]).all()
    assert (genes["symbol"] != "").all()
    assert genes["symbol"].is_unique
    assert (genes["gene_type"] != "").all()
    ensembl = genes["ensembl_ids"].explode().dropna()
    assert ensembl.str.fullmatch(r"ENS(MUS)?G\d{11}").all()


def test_a_human_ensembl_id_means_one_gene(human):
    assert human.genes["ensembl_ids"].explode().dropna().is_unique


def test_coverage(human, mouse):
    coding = human.genes[human.genes["gene_type"] == "protein-coding"]
    assert len(coding) >= 20_600
    assert (coding["name"] != "").all()
    assert coding["gene_id"].isin(human.frame("go")["gene_id"]).sum() >= 18_500
    assert (coding["ensembl_ids"].map(len) > 0).mean() > 0.94
    single = mouse.orthologs[mouse.orthologs["one_to_one"]]
    assert len(single) >= 16_900
    assert (mouse.genes["id_tax_id"] == HUMAN.tax_id).mean() < 0.05


def test_orthologs_point_at_genes_that_are_there(human, mouse):
    orthologs = mouse.orthologs.merge(human.genes, left_on="human_gene_id", right_on="gene_id", suffixes=("", "_human"))
    assert len(orthologs) == len(mouse.orthologs)
    assert (orthologs["human_symbol"] == orthologs["symbol"]).all()
    assert mouse.orthologs["gene_id"].isin(mouse.genes["gene_id"]).all()
    single = mouse.orthologs[mouse.orthologs["one_to_one"]]
    assert single["gene_id"].is_unique
    assert single["human_gene_id"].is_unique
    borrowed = mouse.genes.loc[mouse.genes["id_tax_id"] == HUMAN.tax_id, "gene_id"]
    lent = single.set_index("gene_id")["human_gene_id"]
    assert (lent.loc[borrowed].to_numpy() == borrowed.to_numpy()).all()


@pytest.mark.parametrize("of", [HUMAN, MOUSE], ids=lambda of: of.name)
def test_go_terms_are_ranked_and_informative(of):
    snapshot = open_facts(of)
    go = snapshot.frame("go")
    assert set(go["category"]) == {"Process", "Function", "Component"}
    assert not set(go["evidence"]) & {"ND", ""}
    assert not set(go["term"]) & {"biological_process", "molecular_function", "cellular_component", "protein binding"}
    assert not go.duplicated(["gene_id", "go_id"]).any()
    assert go.groupby("go_id")["term"].nunique().max() == 1
    places = go.groupby(["gene_id", "category"])["rank"].agg(["min", "max", "count"])
    assert (places["min"] == 0).all()
    assert (places["max"] + 1 == places["count"]).all()
    assert places["count"].max() <= 6


def test_facts_inside_an_archive_are_copied_once(tmp_path):
    archive = tmp_path / "genetext.zip"
    package = Path(genetext.__file__).parent
    with zipfile.ZipFile(archive, "w") as target:
        for file in sorted(package.rglob("*")):
            if file.suffix in {".py", ".json", ".parquet"}:
                target.write(file, Path("genetext") / file.relative_to(package))
    root = tmp_path / "root"
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from genetext.text import facts; from genetext.species import HUMAN\n"
        "assert sys.argv[1] in facts.__file__\n"
        "for _ in range(2): snapshot = facts.open_facts(HUMAN, root=pathlib.Path(sys.argv[2]))\n"
        "print(snapshot.path, len(snapshot.genes))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, archive, root], check=True, capture_output=True, text=True, env={**os.environ}
    )
    path, count = done.stdout.split()
    assert Path(path).parent == root / "snapshots" / "human"
    assert Path(path).name == f"facts-{open_facts(HUMAN).manifest.digest[:12]}"
    assert int(count) == len(open_facts(HUMAN).genes)
    assert [entry.name for entry in Path(path).parent.iterdir()] == [Path(path).name]


# --- against NCBI -----------------------------------------------------------------------------------------------------


def ncbi_genes(folder: Path, name: str, tax_id: int) -> pd.DataFrame:
    with gzip.open(folder / "ncbi" / "gene" / "DATA" / "GENE_INFO" / "Mammalia" / name) as handle:
        frame = pd.read_csv(handle, sep="\t", keep_default_na=False, dtype=str, quoting=3)
    frame = frame[frame["#tax_id"] == str(tax_id)].astype({"GeneID": int})
    return frame.set_index("GeneID")


@pytest.mark.real
def test_human_genes_against_ncbi(real_data, human):
    ncbi = ncbi_genes(real_data, "Homo_sapiens.gene_info.gz", HUMAN.tax_id)
    ncbi = ncbi[ncbi["type_of_gene"] == "protein-coding"]
    facts = human.genes.set_index("gene_id")
    shared = ncbi.index.intersection(facts.index)
    same = (ncbi.loc[shared, "Symbol"] == facts.loc[shared, "symbol"]).mean()
    renamed = shared[ncbi.loc[shared, "Symbol"].to_numpy() != facts.loc[shared, "symbol"].to_numpy()]
    print(f"present {len(shared) / len(ncbi):.4f}, same symbol {same:.4f}, renamed {len(renamed)}")
    assert len(shared) / len(ncbi) > 0.999
    assert same > 0.98
    # What HGNC has renamed since is not lost: the symbol NCBI had is among the previous ones.
    assert all(ncbi.loc[gene_id, "Symbol"] in facts.loc[gene_id, "previous"] for gene_id in renamed)


@pytest.mark.real
def test_mouse_gene_ids_against_ncbi(real_data, mouse):
    ncbi = ncbi_genes(real_data, "Mus_musculus.gene_info.gz", MOUSE.tax_id)
    pairs = ncbi["dbXrefs"].str.split("|").explode()
    pairs = pairs[pairs.str.startswith("Ensembl:")].str.removeprefix("Ensembl:")
    truth = pd.DataFrame({"ensembl": pairs.to_numpy(), "true_id": pairs.index}).drop_duplicates("ensembl", keep=False)
    facts = mouse.genes[mouse.genes["id_tax_id"] == MOUSE.tax_id]
    ours = (
        facts[["gene_id", "ensembl_ids"]].explode("ensembl_ids").merge(truth, left_on="ensembl_ids", right_on="ensembl")
    )
    same = ours["gene_id"] == ours["true_id"]
    another = ~same & ours["gene_id"].isin(ncbi.index)
    coding = ncbi[ncbi["type_of_gene"] == "protein-coding"]
    present = coding.index.isin(facts["gene_id"]).mean()
    print(
        f"{len(ours)} mouse GeneIDs: {same.mean():.4f} agree, {another.mean():.4f} are another gene's, others retired"
    )
    print(f"of NCBI's protein-coding genes {present:.4f} are present")
    assert len(ours) > 20_000
    assert same.mean() > 0.98
    assert another.mean() < 0.003
    single = ours["gene_id"].isin(mouse.orthologs.loc[mouse.orthologs["one_to_one"], "gene_id"])
    assert same[single].mean() > 0.998


@pytest.mark.real
def test_ncbi_files_make_mouse_genes_too(real_data, mouse, human):
    data = real_data / "ncbi" / "gene" / "DATA"
    files = {
        "mouse_info": data / "GENE_INFO" / "Mammalia" / "Mus_musculus.gene_info.gz",
        "orthologs": data / "gene_orthologs.gz",
    }
    known = {gene_id: Gene(gene_id, symbol) for gene_id, symbol in human.genes[["gene_id", "symbol"]].to_numpy()}
    genes, orthologs = mouse_from_ncbi(files, known)
    assert genes[30044].ensembl_ids == ("ENSMUSG00000021799",)
    theirs = orthologs[orthologs["one_to_one"]].set_index("gene_id")["human_gene_id"]
    ours = mouse.orthologs[mouse.orthologs["one_to_one"]].set_index("gene_id")["human_gene_id"]
    shared = theirs.index.intersection(ours.index)
    assert len(shared) > 15_500
    # Ensembl's homology names Ensembl ids; which GeneID the id of a read-through or antisense gene means is a choice.
    assert (theirs[shared] == ours[shared]).mean() > 0.995


@pytest.mark.network
def test_the_script_makes_what_ships(tmp_path, pytestconfig):
    if "network" not in pytestconfig.getoption("markexpr"):
        pytest.skip("downloads 150 MB of packages: ask for it with -m network")
    if shutil.which("apt-get") is None:
        pytest.skip("needs apt-get, for Debian's packages")
    subprocess.run([sys.executable, "-m", "scripts.make_facts", "--out", tmp_path], check=True, cwd=DATA.parents[2])
    for of in (HUMAN, MOUSE):
        made, ships = Snapshot.open(tmp_path / of.name), open_facts(of)
        assert made.manifest["source"] == ships.manifest["source"]
        for name in SCHEMAS:
            assert made.table(name).equals(ships.table(name)), name


# --- how they are chosen ----------------------------------------------------------------------------------------------


@st.composite
def ontologies(draw):
    """A small directed acyclic graph: each term may stand under any of the terms before it."""
    size = draw(st.integers(1, 9))
    names = [f"GO:{number:07d}" for number in range(size)]
    parents = {
        name: frozenset(draw(st.sets(st.sampled_from(names[:place]), max_size=3))) if place else frozenset()
        for place, name in enumerate(names)
    }
    return Ontology({name: (f"term {name}", "Process") for name in names}, parents)


def reaches(ontology: Ontology, below: str, above: str) -> bool:
    return any(parent == above or reaches(ontology, parent, above) for parent in ontology.parents[below])


@given(ontologies(), st.data())
def test_no_term_is_kept_whose_descendant_is_annotated(ontology, data):
    annotated = data.draw(st.sets(st.sampled_from(sorted(ontology.terms))))
    kept = most_specific(annotated, ontology.ancestors())
    assert kept <= annotated
    for term in annotated:
        covered = any(reaches(ontology, other, term) for other in annotated)
        assert (term in kept) is not covered


@given(ontologies(), st.data())
def test_information_grows_down_the_graph(ontology, data):
    genes = st.dictionaries(st.integers(1, 6), st.sets(st.sampled_from(sorted(ontology.terms)), min_size=1), min_size=1)
    ancestors = ontology.ancestors()
    bits = information(data.draw(genes), ancestors)
    assert all(value >= 0 for value in bits.values())
    for below, value in bits.items():
        assert all(bits[above] <= value + 1e-12 for above in ancestors[below])


@pytest.fixture
def chain() -> Ontology:
    """Three terms, each a kind of the one before it, and twelve that stand alone."""
    alone = {f"GO:1{number:06d}": (f"alone {number}", "Process") for number in range(12)}
    terms = {"GO:1": ("root", "Process"), "GO:2": ("middle", "Process"), "GO:3": ("leaf", "Process"), **alone}
    return Ontology(terms, {"GO:2": frozenset({"GO:1"}), "GO:3": frozenset({"GO:2"})})


def test_go_table_keeps_the_leaf_with_its_strongest_evidence(chain):
    rows = [(7, "GO:1", "IDA"), (7, "GO:3", "IEA"), (7, "GO:3", "IMP"), (8, "GO:2", "TAS"), (9, "GO:3", "IDA")]
    table = go_table(rows, chain, tax_id=9606, genes={7, 8})
    assert table[["gene_id", "go_id", "term", "evidence", "rank"]].to_numpy().tolist() == [
        [7, "GO:3", "leaf", "IMP", 0],
        [8, "GO:2", "middle", "TAS", 0],
    ]


def test_what_several_kinds_of_evidence_say_stays_and_what_a_program_inferred_goes(chain):
    alone = [go_id for go_id in chain.terms if len(go_id) > 5]
    rows = [(1, go_id, "IEA") for go_id in alone]
    rows += [(1, go_id, "TAS") for go_id in alone[4:10]]
    rows += [(1, go_id, "IDA") for go_id in alone[8:12]]
    # Another gene has the best supported ones too: they say less, and so come after the others that stay.
    rows += [(2, go_id, "IDA") for go_id in alone[8:10]]
    table = go_table(rows, chain, tax_id=9606, genes={1, 2})
    of_first = table[table["gene_id"] == 1]
    assert list(of_first["rank"]) == list(range(6))
    assert list(of_first["go_id"]) == [*alone[10:12], *alone[4:6], *alone[8:10]]
    assert list(of_first["evidence"]) == ["IDA", "IDA", "TAS", "TAS", "IDA", "IDA"]


def test_an_ontology_is_read_from_obo(tmp_path):
    path = tmp_path / "go-basic.obo"
    path.write_text(
        "format-version: 1.2\n\n"
        "[Term]\nid: GO:1\nname: process\nnamespace: biological_process\n\n"
        "[Term]\nid: GO:2\nname: whole\nnamespace: biological_process\nis_a: GO:1 ! process\n\n"
        '[Term]\nid: GO:3\nname: part\nnamespace: biological_process\nis_a: GO:1 {source="x"} ! process\n'
        "relationship: part_of GO:2 ! whole\nrelationship: regulates GO:9 ! nine\n\n"
        "[Term]\nid: GO:4\nname: gone\nnamespace: biological_process\nis_obsolete: true\n\n"
        "[Term]\nid: GO:5\nname: activity\nnamespace: molecular_function\nrelationship: part_of GO:2 ! whole\n\n"
        "[Typedef]\nid: part_of\nname: part of\n"
    )
    ontology = Ontology.read(path)
    assert ontology.terms == {
        "GO:1": ("process", "Process"),
        "GO:2": ("whole", "Process"),
        "GO:3": ("part", "Process"),
        "GO:5": ("activity", "Function"),
    }
    assert ontology.ancestors() == {
        "GO:1": frozenset(),
        "GO:2": {"GO:1"},
        "GO:3": {"GO:1", "GO:2"},
        "GO:5": frozenset(),
    }


def test_annotations_with_not_or_without_data_are_not_read(tmp_path):
    path = tmp_path / "gene2go.gz"
    lines = [
        "#tax_id\tGeneID\tGO_ID\tEvidence\tQualifier\tGO_term\tPubMed\tCategory",
        "9606\t1\tGO:1\tIDA\tinvolved_in\ta\t-\tProcess",
        "9606\t1\tGO:2\tIDA\tNOT involved_in\tb\t-\tProcess",
        "9606\t1\tGO:3\tND\tinvolved_in\tc\t-\tProcess",
        "10090\t2\tGO:1\tIDA\tinvolved_in\ta\t-\tProcess",
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert list(read_annotations(path, 9606)) == [(1, "GO:1", "IDA")]


def hgnc(symbol: str, entrez_id: str, **cells: str) -> dict[str, str]:
    base = {"symbol": symbol, "name": symbol.lower(), "locus_group": "protein-coding gene", "status": "Approved"}
    empty = {"alias_symbol": "", "prev_symbol": "", "ensembl_gene_id": ""}
    return {**base, **empty, "entrez_id": entrez_id, **cells}


def test_hgnc_renames_and_settles_who_owns_a_symbol_and_an_ensembl_id():
    genes = {
        1: Gene(1, "OLD", "old name", ("A", "B"), ensembl_ids=("ENSG1", "ENSG2"), gene_type="protein-coding"),
        2: Gene(2, "NEW", "stale", gene_type="ncRNA"),
        3: Gene(3, "OTHER", "other", ensembl_ids=("ENSG1", "ENSG3"), gene_type="pseudo"),
        4: Gene(4, "FOURTH", "fourth", ensembl_ids=("ENSG3",), gene_type="pseudo"),
    }
    rows = [
        hgnc("NEW", "1", prev_symbol="B", alias_symbol="C", ensembl_gene_id="ENSG1", gene_group="Opsins|Receptors"),
        hgnc("FIFTH", "5", locus_group="pseudogene"),
        hgnc("GONE", "6", status="Entry Withdrawn"),
    ]
    merged = merge_hgnc(genes, rows)
    assert list(merged) == [1, 3, 4, 5]
    assert merged[1] == Gene(
        1, "NEW", "new", ("C", "A"), ("B", "OLD"), ("ENSG1", "ENSG2"), "protein-coding", ("Opsins", "Receptors")
    )
    assert merged[3].ensembl_ids == ()  # ENSG1 is HGNC's gene's; ENSG3 is claimed twice
    assert merged[4].ensembl_ids == ()
    assert merged[5].gene_type == "pseudo"


def test_old_symbols_are_matched_only_where_one_fits():
    old = {10: "Same", 20: "Before", 30: "Shared", 40: "Taken", 50: "Twice", 51: "Twice"}
    current = {
        "a": ["Same", "Before"],  # the symbol itself decides
        "b": ["Now", "Before", "Nothing"],
        "c": ["C", "Shared"],
        "d": ["D", "Shared"],  # a synonym of two genes
        "e": ["E", "Same"],  # a synonym that is somebody's symbol
        "f": ["Twice"],  # two GeneIDs had it
    }
    assert match_old_symbols(current, old) == {"a": 10}
    del current["a"]
    assert match_old_symbols({"x": ["Same", "Before"], "y": ["Before", "Same"]}, old) == {}  # they traded places
    assert match_old_symbols(current, old) == {"b": 20, "e": 10}


def test_mouse_genes_without_a_gene_id_borrow_one_or_stay_away(tmp_path):
    (tmp_path / "ids.py").write_text(
        "GENEID2NT = {\n"
        "  30044 : NtData(tax_id=10090, GeneID=30044, Symbol='Opn4', Aliases='Gm533', description='opsin'),\n"
        "}\n"
    )
    (tmp_path / "mgi.tsv").write_text(
        "ID\tsymbol\tsynonyms\tensembl\n1\tOpn4\t\tENSMUSG1\n2\tNew1\tOld1\tENSMUSG2\n3\tLost\t\tENSMUSG3\n"
    )
    (tmp_path / "homology.csv").write_text(
        "Gene stable ID,Human gene stable ID,Human homology type\n"
        "ENSMUSG1,ENSG1,ortholog_one2one\nENSMUSG2,ENSG2,ortholog_one2one\nENSMUSG3,ENSG1,ortholog_one2many\n"
    )
    human = {
        1: Gene(1, "OPN4", ensembl_ids=("ENSG1",), gene_type="protein-coding"),
        2: Gene(2, "NEW1", ensembl_ids=("ENSG2",), gene_type="protein-coding"),
    }
    files = {"gene_ids": tmp_path / "ids.py", "mgi": tmp_path / "mgi.tsv", "homology": tmp_path / "homology.csv"}
    genes, orthologs = mouse_from_packages(files, human)
    assert {gene_id: (gene.symbol, gene.id_tax_id) for gene_id, gene in genes.items()} == {
        2: ("New1", 9606),
        30044: ("Opn4", 10090),
    }
    assert orthologs[["gene_id", "human_gene_id", "one_to_one"]].to_numpy().tolist() == [[2, 2, True], [30044, 1, True]]


def test_the_same_facts_have_the_same_bytes(tmp_path):
    tables = {"genes": genes_frame([Gene(2, "B", synonyms=("x", "y")), Gene(1, "A", ensembl_ids=("ENSG1",))])}
    digests = set()
    for name in ("one", "two"):
        made = write_snapshot(tmp_path / name, species=HUMAN, tables=tables, source={"kind": "facts", "where": []})
        digests.add(made.digest)
    assert len(digests) == 1
    genes = Snapshot.open(tmp_path / "one").genes
    assert list(genes["symbol"]) == ["A", "B"]
    assert [list(names) for names in genes["synonyms"]] == [[], ["x", "y"]]


def test_damaged_facts_are_refused(tmp_path):
    copied = shutil.copytree(DATA / "mouse", tmp_path / "mouse")
    (copied / "genes.parquet").write_bytes(b"PAR1")
    with pytest.raises(SnapshotError, match=r"genes\.parquet has 4 bytes"):
        Snapshot.open(copied)
