"""Names of species."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genetext.errors import SpeciesError
from genetext.species import HUMAN, KNOWN, MOUSE, Species, find


@pytest.mark.parametrize("species", KNOWN, ids=lambda species: species.name)
def test_every_name_of_a_species_finds_it(species):
    for name in (species.name, species.latin, *species.aliases, species.tax_id, str(species.tax_id), species):
        assert find(name) == species
    assert find(species.latin.upper().replace(" ", "_")) == species


@pytest.mark.parametrize(
    ("name", "tax_id"),
    [("human", 9606), ("mouse", 10090), ("rat", 10116), ("zebrafish", 7955), ("fruit fly", 7227), ("macaque", 9544)],
)
def test_the_common_names(name, tax_id):
    assert find(name).tax_id == tax_id


def test_no_name_means_two_species():
    names = [name for item in KNOWN for name in {item.name, item.latin.lower(), *item.aliases}]
    assert len(names) == len(set(names))
    assert len({item.tax_id for item in KNOWN}) == len(KNOWN)


def test_another_taxonomy_id_is_taken_at_its_word():
    assert find(9685) == find("9685") == Species(9685, "taxid-9685", "taxon 9685")
    assert find("9685").gene_info == ("gene_info.gz",)


@pytest.mark.parametrize(
    ("wrong", "meant"), [("humann", "human"), ("Mus musculos", "mouse"), ("zebra fish", "zebrafish")]
)
def test_an_unknown_name_suggests_near_ones(wrong, meant):
    with pytest.raises(SpeciesError, match=f"unknown species '{wrong}': did you mean .*{meant}") as caught:
        find(wrong)
    assert "--species 10090" in str(caught.value)


def test_a_number_that_is_no_taxonomy_id():
    for number in ("9" * 12, "9" * 5000, "0"):
        with pytest.raises(SpeciesError):
            find(number)


def test_a_strange_name_suggests_nothing():
    with pytest.raises(SpeciesError, match="unknown species 'qqqq': Known by name: human, mouse, rat"):
        find("qqqq")


@given(st.text())
def test_any_text_is_a_species_or_a_species_error(text):
    with suppress(SpeciesError):
        assert isinstance(find(text), Species)


def test_where_ncbi_may_keep_the_genes():
    assert HUMAN.gene_info == (
        "GENE_INFO/Mammalia/Homo_sapiens.gene_info.gz",
        "GENE_INFO/Mammalia/All_Mammalia.gene_info.gz",
        "gene_info.gz",
    )
    assert MOUSE.gene_info[0] == "GENE_INFO/Mammalia/Mus_musculus.gene_info.gz"
    assert find("dog").gene_info[0] == "GENE_INFO/Mammalia/Canis_familiaris.gene_info.gz"
    assert find("yeast").gene_info[0] == "GENE_INFO/Fungi/Saccharomyces_cerevisiae.gene_info.gz"
    assert find("zebrafish").gene_info[0].startswith("GENE_INFO/Non-mammalian_vertebrates/Danio_rerio.")


@pytest.mark.parametrize(
    "latin", ["../../../etc/x", "Influenza A virus (A/Puerto Rico/8/1934(H1N1))", "[Candida] auris", "Felis..catus", ""]
)
def test_a_latin_name_that_is_no_file_name_leaves_the_files_of_the_group(latin):
    found = Species(1, "some-species", latin, "Fungi")
    assert found.gene_info == ("GENE_INFO/Fungi/All_Fungi.gene_info.gz", "gene_info.gz")


def test_every_known_species_has_a_file_of_its_own():
    assert all(len(known.gene_info) == 3 for known in KNOWN)
    strain = Species(511145, "e-coli", "Escherichia coli str. K-12 substr. MG1655", "Archaea_Bacteria")
    assert strain.gene_info[0].endswith("/Escherichia_coli_str._K-12_substr._MG1655.gene_info.gz")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "a\\b", "a..b"])
def test_a_name_that_cannot_stand_in_a_path_is_refused(name):
    with pytest.raises(SpeciesError, match="cannot be a species' name"):
        Species(1, name, "Felis catus")
