"""Files of terms: the forms, the names, the limits, and what may not leak."""

import gzip

import numpy as np
import pandas as pd
import pytest

from genetext.bench.tasks import Selection, Task
from genetext.bench.terms import GeneTasks
from genetext.errors import BenchError
from genetext.gene_sets import HOLDOUT
from genetext.names import Resolver
from tests.bench.worlds import splits_file
from tests.factory import write_ncbi, write_snapshot


@pytest.fixture(scope="module")
def resolver(tmp_path_factory):
    place = tmp_path_factory.mktemp("tasks")
    return Resolver(write_snapshot(place / "snapshot", source=write_ncbi(place / "ncbi", n_extra=30)))


GMT = (
    "LIGHT\thttp://x\tRHO\tOPN4\tOPN1SW\tOPN1MW\tOPN1LW\n"
    "BREAST\t\tBRCA1\tTP53\tNOSUCHGENE\tTP53\n"
    "EYE\tx\tPAX6\tSEPT2\tRHO\n"
)


def write(path, text):
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["sets.gmt", "sets.gmt.gz", "sets.txt"])
def test_gmt(tmp_path, resolver, name):
    tasks = GeneTasks.read(write(tmp_path / name, GMT), resolver)
    assert tasks.terms == ["LIGHT", "BREAST", "EYE"]
    assert not tasks.given_splits
    # SEPT2 is a former name of SEPTIN2: names go through the resolver.
    assert {4735, 7157, 94233} <= set(tasks.gene_ids.tolist())
    assert tasks.report.names[~tasks.report.mask].tolist() == ["NOSUCHGENE"]
    assert tasks.repeated == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "gene\tterm\tscore\nRHO\tLIGHT\t1\nBRCA1\tBREAST\t2\n"),
        ("a.csv", "term,gene\nLIGHT,RHO\nBREAST,BRCA1\n"),
        ("a.tsv.gz", "LIGHT\tRHO\nBREAST\tBRCA1\n"),
        ("a.csv", "\ufeffLIGHT,RHO\nBREAST,BRCA1\n"),
    ],
)
def test_tables(tmp_path, resolver, name, text):
    tasks = GeneTasks.read(write(tmp_path / name, text), resolver, selection=Selection(min_genes=1))
    assert tasks.terms == ["LIGHT", "BREAST"]
    (light, _), left_out = tasks.among(tasks.gene_ids)
    assert (light.gene_ids.tolist(), light.labels.tolist()) == ([672, 6010], [False, True])
    assert light.splits is None
    assert left_out == {}


def test_negatives_are_the_other_genes_of_the_file(tmp_path, resolver):
    tasks = GeneTasks.read(write(tmp_path / "a.gmt", GMT), resolver, selection=Selection(min_genes=2, every=2))
    found, left_out = tasks.among(tasks.gene_ids)
    # Every second term by name; the negatives come from all three.
    assert [task.term for task in found] == ["LIGHT", "BREAST"]
    light = found[0]
    assert light.gene_ids[light.labels].tolist() == [611, 2652, 5956, 6010, 94233]
    assert light.gene_ids[~light.labels].tolist() == [672, 4735, 5080, 7157]
    assert left_out == {}


def test_limits_say_why_a_term_is_left_out(tmp_path, resolver):
    selection = Selection(min_genes=3, max_genes=4, negatives=2)
    tasks = GeneTasks.read(write(tmp_path / "a.gmt", GMT), resolver, selection=selection)
    found, left_out = tasks.among(tasks.gene_ids)
    assert [task.term for task in found] == ["EYE"]
    assert int((~found[0].labels).sum()) == 2
    assert left_out == {"LIGHT": "5 genes, more than 4", "BREAST": "2 genes, fewer than 3"}
    # Genes that may not be used do not count.
    assert tasks.among([5080, 4735, 7157])[1]["EYE"] == "2 genes, fewer than 3"


def test_one_gene_less_changes_few_negatives(tmp_path, resolver):
    text = "".join(f"T{i % 2}\tEXTRA{i}\n" for i in range(30))
    tasks = GeneTasks.read(write(tmp_path / "a.tsv", text), resolver, selection=Selection(min_genes=2, negatives=8))
    whole = tasks.among(tasks.gene_ids)[0][0]
    without = int(whole.gene_ids[~whole.labels][0])
    fewer = tasks.among(np.setdiff1d(tasks.gene_ids, [without]))[0][0]
    assert len(np.setdiff1d(fewer.gene_ids, whole.gene_ids)) == 1
    other = GeneTasks.read(tmp_path / "a.tsv", resolver, selection=Selection(min_genes=2, negatives=8, seed=1))
    assert other.among(other.gene_ids)[0][0].digest != whole.digest


def given(**changes) -> pd.DataFrame:
    genes = [f"EXTRA{i}" for i in range(24)]
    table = pd.DataFrame(
        {
            "term": "GO:1",
            "split": ["fold1", "fold2", "fold3", "holdout"] * 6,
            "gene": genes,
            "result": [1, 1, 1, 1, 0, 0, 0, 0] * 3,
        }
    )
    return table.assign(**changes)


def test_given_splits_and_negatives(tmp_path, resolver):
    tasks = GeneTasks.read(splits_file(tmp_path / "y.tsv.gz", given()), resolver)
    (task,), left_out = tasks.among(tasks.gene_ids)
    assert tasks.given_splits
    assert left_out == {}
    assert task.splits.tolist() == [0, 1, 2, HOLDOUT] * 6
    assert task.labels.tolist() == [True] * 4 + [False] * 4 + [True] * 4 + [False] * 4 + [True] * 4 + [False] * 4


def test_a_gene_that_comes_twice_stays_in_its_fold_and_leaves_the_holdout(tmp_path, resolver):
    """900001 was taken over by 94233: two rows of the file are one gene."""
    table = given()
    table.loc[3, "gene"], table.loc[8, "gene"] = "900001", "94233"
    tasks = GeneTasks.read(splits_file(tmp_path / "y.tsv", table), resolver)
    (task,), _ = tasks.among(tasks.gene_ids)
    assert tasks.repeated == 1
    assert task.splits[task.gene_ids == 94233].tolist() == [0]


def test_a_gene_that_is_in_and_out_of_a_term_is_left_out(tmp_path, resolver):
    table = given()
    table.loc[3, "gene"], table.loc[4, "gene"] = "900001", "OPN4"
    tasks = GeneTasks.read(splits_file(tmp_path / "y.tsv", table), resolver)
    assert tasks.contradictory == 2
    assert 94233 not in tasks.gene_ids


def test_terms_that_lost_one_kind_of_gene_say_so(tmp_path, resolver):
    tasks = GeneTasks.read(splits_file(tmp_path / "y.tsv", given()), resolver)
    ids = tasks.frame.assign(at=range(24)).set_index("at")["gene_id"]
    assert tasks.among(ids[[i for i in range(24) if i % 4 != 3]])[1] == {"GO:1": "no usable gene is held out"}
    assert tasks.among(ids[[i for i in range(24) if i % 8 != 1]])[1] == {
        "GO:1": "fold 2 has usable genes of one kind only"
    }


def test_digests_tell_tasks_apart_but_not_their_names(tmp_path, resolver):
    tasks = GeneTasks.read(splits_file(tmp_path / "y.tsv", given()), resolver)
    one = tasks.among(tasks.gene_ids)[0][0]
    assert Task("other", one.gene_ids, one.labels, one.splits).digest == one.digest
    assert Task(one.term, one.gene_ids, ~one.labels, one.splits).digest != one.digest
    assert Task(one.term, one.gene_ids, one.labels).digest != one.digest


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.gmt", "", "is empty"),
        ("a.gmt", "no tabs here\n", "no GMT"),
        ("a.txt", "just words\nmore of them\n", "its first line is .just words"),
        ("a.tsv", "term\tgene\nA\n", "line 2"),
        ("a.tsv", "term\tgene\tsplit\tresult\nA\tRHO\tfold1\tyes\n", "result is 1"),
        ("a.tsv", "term\tgene\tsplit\tresult\nA\tRHO\tfold1\t1\nA\tTP53\tfold2\t0\n", "and a 'holdout'"),
    ],
)
def test_files_that_are_no_terms_are_refused_in_a_sentence(tmp_path, resolver, name, text, message):
    with pytest.raises(BenchError, match=message):
        GeneTasks.read(write(tmp_path / name, text), resolver)


def test_files_that_cannot_be_read_are_refused(tmp_path, resolver):
    (tmp_path / "cut.gmt.gz").write_bytes(gzip.compress(GMT.encode() * 50)[:60])
    (tmp_path / "latin.gmt").write_bytes("T\tx\t\xe4\n".encode("latin-1"))
    for name in ("none.gmt", "cut.gmt.gz", "latin.gmt"):
        with pytest.raises(BenchError, match=f"no gene sets can be read from .*{name}: "):
            GeneTasks.read(tmp_path / name, resolver)


def test_unknown_terms_are_refused(tmp_path, resolver):
    with pytest.raises(BenchError, match="no term DARK; it has LIGHT, BREAST, EYE"):
        GeneTasks.read(write(tmp_path / "a.gmt", GMT), resolver, selection=Selection(terms=("LIGHT", "DARK")))
    assert GeneTasks.read(tmp_path / "a.gmt", resolver, selection=Selection(terms=("EYE",))).terms == ["EYE"]
