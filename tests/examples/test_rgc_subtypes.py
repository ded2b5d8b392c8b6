"""The RGC example: fair splits, honest verdicts, scores by their formula, and a run from end to end."""

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from examples.rgc import arms, figures, interpret, lowsample, report, simulate
from examples.rgc.lowsample import Arm
from genetext.acquire import find_species
from genetext.priors import GenePriors
from genetext.text import facts, subset
from genetext.text.snapshot import SCHEMAS, Snapshot
from tests.servers.ncbi import NcbiServer

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def atlas():
    return simulate.simulate(simulate.Design(n_cells=700, n_genes=400, seed=1))


@pytest.fixture(scope="module")
def index(atlas, tmp_path_factory):
    """A lexical index of the facts about the genes of the atlas alone, which is built in a moment."""
    from genetext import build_index

    root = tmp_path_factory.mktemp("cache")
    whole = facts.open_facts(find_species("mouse"))
    tables = {name: whole.table(name) for name in SCHEMAS}
    ids = whole.genes.loc[whole.genes["symbol"].isin(set(atlas.var_names)), "gene_id"]
    content = {name: whole.manifest[name] for name in ("species", "source")}
    few = Snapshot.write(root / "few", tables=subset.keep_genes(tables, ids.tolist()), content=content)
    return build_index("mouse", encoder="lexical", snapshot=few, output=root / "index", root=root)


# -- the comparison --------------------------------------------------------------------------------------


def test_an_arm_is_told_no_label_that_is_tested(atlas):
    labels = atlas.obs["cell_type"].astype(str).to_numpy(dtype=object)
    seen = []

    def spy(train, known, seed):
        seen.append((seed, len(train)))
        told = np.flatnonzero([one is not None for one in known])
        np.testing.assert_array_equal(told, train)
        return np.random.default_rng(seed).normal(size=(len(labels), 4)).astype(np.float32)

    table = lowsample.curves(labels, [Arm("spy", spy, "baseline", "")], sizes=(2, 5), repeats=2, seed=7)
    assert sorted(seed for seed, _ in seen) == [7, 7, 8, 8]
    assert (table["n_train"] + table["n_test"] <= len(labels)).all()


def test_a_perfect_embedding_scores_one_and_noise_does_not(atlas):
    labels = atlas.obs["cell_type"].astype(str).to_numpy(dtype=object)
    codes = np.eye(45, dtype=np.float32)[pd.factorize(labels)[0]]
    noise = np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32)
    arms = [Arm("perfect", lambda *_: codes, "baseline", ""), Arm("noise", lambda *_: noise, "baseline", "")]
    table = lowsample.curves(labels, arms, sizes=(2,), repeats=1).set_index("arm")
    assert (table.loc["perfect", list(lowsample.SCORES)] == 1).all()
    assert table.loc["noise", "macro_f1"] < 0.1


def test_cells_are_named_as_in_the_curves(atlas):
    labels = atlas.obs["cell_type"].astype(str).to_numpy(dtype=object)
    arm = arms.baselines(atlas)[0]
    table = lowsample.curves(labels, [arm], sizes=(4,), repeats=1, seed=2)
    named = lowsample.name_cells(labels, arm, 4, seed=2)
    assert np.mean(named.given == labels[named.rows]) == pytest.approx(table["accuracy"].iloc[0])


@pytest.mark.parametrize("make", [arms.contrastive, arms.untrained])
def test_families_differ_in_the_prior_alone(atlas, index, make):
    """The real prior, its controls, and for the model none; the permutation differs between repeats."""
    atlas = atlas[::3].copy()
    priors = GenePriors.open(index).align(atlas).pca(16)
    made = make(atlas, priors, steps=1) if make is arms.contrastive else make(atlas, priors)
    assert [arm.role for arm in made][:3] == ["text", "control", "control"]
    assert len({arm.family for arm in made}) == 1
    train = np.arange(0, atlas.n_obs, 5)
    known = np.full(atlas.n_obs, None, dtype=object)
    known[train] = atlas.obs["cell_type"].astype(str).to_numpy(dtype=object)[train]
    first = [arm.make(train, known, 0) for arm in made]
    assert all(np.isfinite(one).all() for one in first)
    assert all(not np.allclose(first[0], one) for one in first[1:] if one.shape == first[0].shape)
    assert not np.allclose(first[1], made[1].make(train, known, 1))
    np.testing.assert_array_equal(first[1], made[1].make(train, known, 0))


def scores(**arms):
    """A table of macro-F1: for each arm its values by repeat, at m = 2 and, 0.1 higher, at m = 5."""
    return pd.DataFrame(
        [
            {"arm": arm, "role": "control", "m": m, "repeat": repeat, "macro_f1": value + (0.1 if m == 5 else 0)}
            for arm, values in arms.items()
            for m in (2, 5)
            for repeat, value in enumerate(values)
        ]
    )


def test_differences_are_paired_by_repeat():
    table = scores(prior=[0.5, 0.6, 0.7], permuted=[0.4, 0.5, 0.6], random=[0.6, 0.5, 0.7])
    found = lowsample.differences(table, "prior").set_index(["against", "m"])
    np.testing.assert_allclose(found.loc[("permuted", 0), ["difference", "low", "high"]].astype(float), 0.1)
    assert found.loc[("random", 0), "low"] < 0 < found.loc[("random", 0), "high"]


@pytest.mark.parametrize(
    ("permuted", "says"),
    [
        ([0.40, 0.51, 0.60], "The text helps"),
        ([0.51, 0.59, 0.70], "ahead of without, but not of permuted"),
        ([0.80, 0.91, 0.99], "but not of permuted"),
    ],
)
def test_text_helps_only_where_every_control_is_beaten(permuted, says):
    table = scores(prior=[0.5, 0.6, 0.7], permuted=permuted, without=[0.2, 0.31, 0.40])
    assert says in lowsample.conclusion(table, "prior", ["permuted", "without"])
    behind = scores(prior=[0.5, 0.6, 0.7], permuted=[0.81, 0.9, 0.99], without=[0.5, 0.61, 0.69])
    assert "not ahead of any of its controls, and behind permuted." in lowsample.conclusion(
        behind, "prior", ["permuted", "without"]
    )
    lines = lowsample.verdict(table, "prior", {"permuted": "permuted", "without": "no prior"})
    assert "Against no prior: better (+0.29" in lines[1]


# -- what separates survivors ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contrast(atlas, index):
    priors = GenePriors.open(index).align(atlas)
    labels = atlas.obs["cell_type"].astype(str).to_numpy(dtype=object)
    survival = interpret.read_survival(simulate.TYPES)
    return priors, labels, survival, interpret.contrast(atlas, priors, index, labels, survival)


def test_scores_follow_the_formula(atlas, contrast):
    """By hand: mean weights of the two groups, their difference, and cosines to the direction between them."""
    priors, labels, survival, found = contrast
    x = np.asarray(atlas.X.todense(), float)
    w = np.log1p(1e4 * x / x.sum(axis=1, keepdims=True))
    a = np.maximum(w - w.mean(axis=0), 0)[:, priors.mask]
    a /= a.sum(axis=1, keepdims=True)
    group = pd.Series(labels).map(survival).to_numpy()
    d = a[group == "resilient"].mean(axis=0) - a[group == "vulnerable"].mean(axis=0)
    v = priors.vectors[priors.mask].astype(float)
    u = d @ v / np.linalg.norm(d @ v)
    centred = v - v.mean(axis=0)
    expected = pd.Series(d * (centred @ u) / np.linalg.norm(centred, axis=1), index=priors.names[priors.mask])
    got = found.genes.set_index("gene")["score"]
    np.testing.assert_allclose(got[expected.index], expected, atol=2e-6)
    assert list(got) == sorted(got, reverse=True)


def test_groups_are_compared_with_groups_that_have_nothing_to_do_with_survival(contrast):
    *_, found = contrast
    n_resilient = int((found.types["survival"] == "resilient").sum())
    assert (n_resilient, len(found.types)) == (6, 9)
    assert len(found.placebo) == 84  # 9 choose 6
    assert found.p == np.mean(found.placebo >= found.distance - 1e-12)
    assert found.p >= 1 / 84
    assert found.distance in found.placebo


def test_sentences_are_of_the_genes_text(contrast, index):
    *_, found = contrast
    assert set(found.sentences["group"]) == {"resilient", "vulnerable"}
    for row in found.sentences.head(10).itertuples():
        assert row.sentence in index.gene(row.gene)["text"]
    more_in = found.genes.set_index("gene")["more_in"]
    assert (more_in[found.sentences["gene"]].to_numpy() == found.sentences["group"]).all()


def test_types_nobody_knows_anything_of_are_not_contrasted(atlas, index, contrast):
    priors, labels, _, _ = contrast
    assert interpret.contrast(atlas, priors, index, labels, {"1_W3D1.1": "resilient"}) is None


def test_pathways_of_the_genes_found(contrast, tmp_path):
    *_, found = contrast
    high = found.genes[(found.genes["score"] > 0) & (found.genes["more_in"] == "resilient")]["gene"]
    low = found.genes.tail(40)["gene"]
    path = tmp_path / "sets.gmt"
    path.write_text("\t".join(["HIGH", "", *high.head(10)]) + "\n" + "\t".join(["LOW", "", *low]) + "\n")
    table = interpret.enrichment(found, path, n=30)
    best = table[table["topic"] == "resilient"].iloc[0]
    assert (best["term"], best["overlap"]) == ("HIGH", 10)
    assert best["fdr"] < 1e-6


# -- figures and report ----------------------------------------------------------------------------------


class _Outside(HTMLParser):
    """Collects everything that a browser would load, or lead to."""

    def __init__(self):
        super().__init__()
        self.loaded, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]

    def handle_data(self, data):
        self.text.append(data)


def read(html):
    parser = _Outside()
    parser.feed(html)
    return parser.loaded, " ".join(parser.text)


def test_a_report_loads_nothing_and_escapes_what_it_is_told():
    section = report.Section("One").text("<script>alert(1)</script>")
    section.table(pd.DataFrame({"gene": ["a<b"], "n": [1234], "x": [0.00001], "y": [np.nan]}), "T")
    html = report.render([section], title="t", subtitle="s", simulated=True)
    assert "<script>" not in html
    loaded, text = read(html)
    assert loaded == ["#1"]
    assert "Simulated data." in text
    assert "1,234" in text
    assert "1.0e-05" in text
    assert "Simulated data." not in report.render([section], title="t", subtitle="s")


def test_types_are_ordered_by_their_numbers():
    assert figures.in_order(["10_Novel", "2_W3D1.2", "B cells"]) == ["2_W3D1.2", "10_Novel", "B cells"]


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in [name for name in sys.modules if name == "rgc" or name.startswith("rgc.")]:
        monkeypatch.delitem(sys.modules, name)
    import importlib

    return importlib.import_module("rgc_subtypes")


SMALL = ["--cells", "400", "--genes", "300", "--variable-genes", "200", "--m", "2", "4", "--repeats", "2"]
FAST = ["--steps", "4", "--prior-dim", "16", "--quick"]


def test_from_end_to_end(example, index, tmp_path, capsys):
    gmt = tmp_path / "sets.gmt"
    genes = example.simulate.simulate(example.simulate.Design(n_cells=400, n_genes=300)).var_names[:60]
    gmt.write_text("\t".join(["SOME", "", *genes]) + "\n")
    out = tmp_path / "out"
    example.main([*SMALL, *FAST, "--index", str(index.path), "--gmt", str(gmt), "--output", str(out)])
    printed = capsys.readouterr().out
    html = (out / "report.html").read_text()
    loaded, text = read(html)
    assert all(one.startswith(("data:image/png;base64,", "#")) for one in loaded)
    assert sum(one.startswith("data:") for one in loaded) >= 5
    assert "Simulated data." in text
    assert "simulated mouse RGC atlas" in text
    assert "facts about the human ortholog" in text
    assert "300 mouse genes" in text
    assert "SOME" in text
    table = pd.read_csv(out / "scores.tsv", sep="\t")
    assert set(table["m"]) == {2, 4}
    assert {"contrastive, prior", "contrastive, permuted", "contrastive, random", "contrastive, no prior"} <= set(
        table["arm"]
    )
    assert {"PCA", "prior vectors, untrained"} <= set(table["arm"])
    assert re.search(r"contrastive, prior: (The text helps|This does not show that the text helps)", printed)


def test_any_data(example, index, tmp_path):
    """A file with other labels: no survival is known, no gene sets are given, nothing is called simulated."""
    rng = np.random.default_rng(0)
    kind = np.repeat(["a", "b", "c", "alone"], [40, 40, 40, 1])
    names = index.genes.loc[index.genes["row"] >= 0, "symbol"].head(120).tolist()
    rate = np.full((len(kind), 120), 0.4)
    for place, name in enumerate("abc"):
        rate[kind == name, place * 30 : place * 30 + 30] = 3
    data = anndata.AnnData(rng.poisson(rate).astype(np.float32), var=pd.DataFrame(index=names))
    data.obs["kind"] = kind
    data.write_h5ad(tmp_path / "cells.h5ad")
    out = tmp_path / "out"
    chosen = ["--h5ad", str(tmp_path / "cells.h5ad"), "--label-key", "kind", "--index", str(index.path)]
    example.main([*chosen, *SMALL, *FAST, "--output", str(out)])
    _, text = read((out / "report.html").read_text())
    assert "imulated" not in text
    assert "--survival FILE" in text
    assert "--gmt FILE" in text
    assert "121 cells, 120 genes, 4 types" in text
    table = pd.read_csv(out / "scores.tsv", sep="\t")
    assert table.loc[table["arm"] == "PCA", "accuracy"].min() > 0.8
    with pytest.raises(SystemExit, match="'nothing' is no column of obs: there are kind"):
        example.main([*chosen[:2], "--label-key", "nothing"])


def test_the_atlas_by_way_of_a_mirror(example, atlas, index, tmp_path, capsys):
    """The simulated atlas in the layout of the measured one, and survival by a table of one's own."""
    folder, out = tmp_path / "mirror", tmp_path / "out"
    folder.mkdir()
    counts = pd.DataFrame(atlas.X.toarray().T, index=atlas.var_names, columns=atlas.obs_names)
    counts.to_csv(folder / example.geo.MATRIX, compression="gzip")
    told = pd.DataFrame({"NAME": atlas.obs_names, "Cluster": atlas.obs["cell_type"].astype(str).to_numpy()})
    told = pd.concat([pd.DataFrame({"NAME": ["TYPE"], "Cluster": ["group"]}), told])
    told.to_csv(folder / example.geo.LABELS, sep="\t", index=False)
    survival = tmp_path / "survival.csv"
    survival.write_text("type,survival\n1_W3D1.1,resilient\n2_W3D1.2,vulnerable\n3_FminiON,resilient\n")
    few = [
        "--m",
        "2",
        "--repeats",
        "1",
        "--steps",
        "1",
        "--topics",
        "4",
        "--topic-epochs",
        "1",
        "--variable-genes",
        "120",
    ]
    with NcbiServer(folder) as server:
        chosen = ["--geo", "--geo-url", server.url, "--index", str(index.path), "--survival", str(survival)]
        example.main([*chosen, *few, "--no-umap", "--prior-dim", "8", "--output", str(out)])
    _, text = read((out / "report.html").read_text())
    assert (
        "adult mouse RGC atlas (Tran et al. 2019, GEO GSE133382 in GSE137400): 700 cells, 400 genes, 45 types" in text
    )
    assert "imulated" not in text
    assert "Of 3 ways to divide" in text
    assert "One repeat decides nothing" in capsys.readouterr().out


# -- the notebook -----------------------------------------------------------------------------------------------------

NOTEBOOK = EXAMPLES / "rgc_subtypes.ipynb"
TINY = """n_cells, n_genes, n_variable = 400, 300, 150
sizes, repeats, steps = [2, 4], 2, 3
n_topics, topic_epochs = 6, 2
umap = False"""


def test_the_notebook_comes_with_its_outputs():
    nbformat = pytest.importorskip("nbformat")
    assert NOTEBOOK.stat().st_size < 300_000
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert "**simulated**" in notebook.cells[0].source


@pytest.mark.slow
def test_the_notebook_runs(index, tmp_path, own_cache, monkeypatch):
    """With the code of today, at tiny settings, on a small index that stands where the default one would."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    shutil.copytree(index.path, own_cache / "indices" / "mouse" / "minilm")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, 4)
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert [line.split("=")[0] for line in settings.source.splitlines()] == [
        line.split("=")[0] for line in TINY.splitlines()
    ]
    settings.source = TINY
    where = {"metadata": {"path": str(EXAMPLES)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    said = "".join(str(output.get("text", "")) for cell in notebook.cells for output in cell.get("outputs", []))
    assert "300 mouse genes" in said
    assert re.search("The text helps|This does not show that the text helps", said)
