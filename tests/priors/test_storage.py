"""Priors into AnnData and files, and back; in memory for other models."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from cellmodels import GenePriorEmbedding
from genetext.cells import embed_cells
from genetext.errors import PriorsError
from genetext.index import GeneIndex
from genetext.priors import GenePriors
from genetext.priors.files import to_scetm

NAMES = ["TP53", "junk", "ENSG00000122375", "C9orf152", "RHO", "AIM1"]


@pytest.fixture
def adata():
    return anndata.AnnData(np.ones((3, len(NAMES)), np.float32), var=pd.DataFrame(index=pd.Index(NAMES)))


@pytest.fixture
def priors(human, adata):
    return human.align(adata, species="human")


def assert_same(one: GenePriors, other: GenePriors):
    for field in ("vectors", "mask", "gene_ids"):
        assert np.array_equal(getattr(one, field), getattr(other, field)), field
    for field in ("names", "status"):
        assert getattr(one, field).tolist() == getattr(other, field).tolist(), field
    for field in ("source", "fingerprint", "steps", "control", "missing", "description", "manifest", "species"):
        assert getattr(one, field) == getattr(other, field), field
    assert other.vectors.dtype == np.float32


def variants(priors, human, adata):
    yield priors
    yield priors.center().pca(2)
    yield priors.permuted(2)
    yield priors.without()
    yield human.align(adata, species="human", missing="mean").unit()


def test_the_keys_are_those_that_the_docs_name(priors, adata):
    assert priors.to_anndata(adata) is None
    assert np.array_equal(adata.varm["genetext"], priors.vectors)
    assert adata.var["genetext_id"].tolist() == [7157, pd.NA, 94233, 401546, 6010, pd.NA]
    assert adata.var["genetext_status"].tolist() == ["symbol", "unknown", "ensembl", "no text", "symbol", "ambiguous"]
    told = adata.uns["genetext"]["priors"]
    assert told["fingerprint"] == priors.fingerprint
    assert told["n_matched"] == 3
    json.dumps(adata.uns["genetext"])


def test_round_trip_through_h5ad(priors, human, adata, tmp_path):
    for number, one in enumerate(variants(priors, human, adata)):
        one.to_anndata(adata)
        path = tmp_path / f"{number}.h5ad"
        adata.write_h5ad(path)
        assert_same(one, GenePriors.from_anndata(anndata.read_h5ad(path)))
        assert_same(one, GenePriors.from_anndata(adata))


def test_two_priors_side_by_side_and_what_others_wrote_is_kept(priors, adata):
    adata.uns["genetext"] = {"cells": {"weighting": "tfidf"}}
    priors.to_anndata(adata)
    priors.random(1).to_anndata(adata, key_added="control")
    assert adata.uns["genetext"]["cells"] == {"weighting": "tfidf"}
    assert_same(priors, GenePriors.from_anndata(adata))
    assert_same(priors.random(1), GenePriors.from_anndata(adata, key="control"))


def test_copy_leaves_the_original_alone(priors, adata):
    copied = priors.to_anndata(adata, copy=True)
    assert "genetext" in copied.varm
    assert "genetext" not in adata.varm
    assert "genetext" not in adata.uns
    assert not len(adata.var.columns)


def test_subsetting_the_anndata_keeps_genes_and_vectors_together(priors, adata):
    priors.to_anndata(adata)
    some = adata[:, [4, 1, 0]].copy()
    assert_same(priors.take([4, 1, 0]), GenePriors.from_anndata(some))


def test_other_genes_or_another_order_are_refused(priors, adata):
    with pytest.raises(PriorsError, match="in another order.*TP53 / junk"):
        priors.to_anndata(adata[:, [1, 0, 2, 3, 4, 5]].copy())
    with pytest.raises(PriorsError, match="6 genes, the AnnData has 2"):
        priors.to_anndata(adata[:, :2].copy())


def test_an_anndata_without_priors_says_what_it_lacks(adata):
    with pytest.raises(PriorsError, match=r"under 'other': it lacks varm\['other'\]"):
        GenePriors.from_anndata(adata, key="other")


def test_a_varm_of_another_column_is_aligned_by_it_and_written_by_var_names(human):
    adata = anndata.AnnData(
        np.ones((2, 2), np.float32),
        var=pd.DataFrame({"gene_ids": ["ENSG00000141510", "ENSG00000163914"]}, index=["x", "y"]),
    )
    priors = human.align(adata)
    assert priors.names.tolist() == ["ENSG00000141510", "ENSG00000163914"]
    priors.to_anndata(adata)
    assert adata.var["genetext_id"].tolist() == [7157, 6010]
    assert adata.var["genetext_aligned_by"].tolist() == priors.names.tolist()
    assert_same(priors, GenePriors.from_anndata(adata))


@pytest.mark.parametrize("form", [".h5ad", ".safetensors", ".parquet"])
def test_an_alignment_by_column_comes_back_whole(tmp_path, form):
    """GeneIDs are not needed for it: these genes have none, so that their names are all that tells them apart."""
    own = GenePriors.from_arrays(["g1", "g2", "g3"], np.random.default_rng(0).normal(size=(3, 4)), source="mine")
    var = pd.DataFrame({"gene_ids": ["g3", "junk", "g1"]}, index=["x", "y", "z"])
    adata = anndata.AnnData(np.ones((2, 3), np.float32), var=var)
    priors = own.align(adata, column="gene_ids")
    path = tmp_path / f"p{form}"
    if form == ".h5ad":
        priors.to_anndata(adata, copy=True).write_h5ad(path)
        back = GenePriors.from_anndata(anndata.read_h5ad(path))
    else:
        back = GenePriors.load(priors.save(path)[0])
    assert_same(priors, back)
    assert back.var_names.tolist() == ["x", "y", "z"]
    assert np.array_equal(back.random(1).vectors, priors.random(1).vectors)
    back.to_anndata(adata)
    assert_same(priors.take([2, 0]), GenePriors.from_anndata(adata[:, [2, 0]].copy()))
    assert embed_cells(adata, back, copy=True) is not None
    GenePriorEmbedding(back).load_state_dict(GenePriorEmbedding(priors).state_dict())
    with pytest.raises(PriorsError, match="other genes"):
        back.to_anndata(adata[:, [1, 0, 2]].copy())
    # Priors of var_names leave no names of others behind.
    GenePriors.from_arrays(["x", "y", "z"], np.eye(3)).align(adata, column="var_names").to_anndata(adata)
    assert "genetext_aligned_by" not in adata.var
    assert GenePriors.from_anndata(adata).names.tolist() == ["x", "y", "z"]


@pytest.mark.parametrize("suffix", [".safetensors", ".parquet"])
def test_round_trip_through_files(priors, human, adata, tmp_path, suffix):
    for number, one in enumerate(variants(priors, human, adata)):
        written = one.save(tmp_path / f"{number}{suffix}")
        assert all(path.is_file() for path in written)
        assert_same(one, GenePriors.load(written[0]))


def test_a_dict_of_arrays_for_other_models(priors, tmp_path):
    named = priors.to_dict()
    assert list(named) == ["TP53", "ENSG00000122375", "RHO"]
    path, sidecar = priors.save(tmp_path / "p.safetensors")
    keys = json.loads(sidecar.read_text())["keys"]
    loaded = dict(zip(keys, load_file(path)["vectors"], strict=True))
    assert loaded.keys() == named.keys()
    assert all(np.array_equal(loaded[name], named[name]) for name in named)


def test_parquet_is_plain(priors, tmp_path):
    frame = pd.read_parquet(priors.save(tmp_path / "p.parquet")[0])
    assert frame.columns.tolist() == ["name", "gene_id", "status", "has_vector", "vector"]
    assert frame["has_vector"].tolist() == priors.mask.tolist()
    assert frame["gene_id"].isna().tolist() == [False, True, False, False, False, True]
    assert np.array_equal(np.stack(frame["vector"]), priors.vectors)


def test_names_that_stand_twice_survive_a_file(human, tmp_path):
    priors = human.align(["TP53", "RHO", "TP53"], species="human")
    assert_same(priors, GenePriors.load(priors.save(tmp_path / "p.safetensors")[0]))


@pytest.mark.parametrize("name", ["p.pkl", "p.npy", "p"])
def test_unknown_forms_are_refused(priors, tmp_path, name):
    with pytest.raises(PriorsError, match=r"\.safetensors or \.parquet"):
        priors.save(tmp_path / name)


@pytest.mark.parametrize("suffix", [".safetensors", ".parquet"])
def test_damaged_foreign_and_absent_files_are_one_error(priors, tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    with pytest.raises(PriorsError, match="no file"):
        GenePriors.load(path)
    priors.save(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(PriorsError, match="p"):
        GenePriors.load(path)


def test_foreign_parquet(tmp_path):
    path = tmp_path / "x.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(PriorsError, match="holds no priors"):
        GenePriors.load(path)


def test_scetm_gets_a_full_matrix_or_a_refusal(priors, human, adata):
    with pytest.raises(PriorsError, match=r"3 of 6 genes have no vector.*scETM has no mask"):
        to_scetm(priors, adata)
    full = human.align(adata, species="human", missing="mean")
    to_scetm(full, adata)
    assert np.array_equal(adata.varm["gene_emb"], full.vectors)
    assert adata.varm["gene_emb"].any(axis=1).all()


def test_torch_tensors_are_copies(priors):
    tensors = priors.to_torch()
    assert tensors.vectors.dtype == torch.float32
    assert tensors.mask.dtype == torch.bool
    before = priors.vectors.copy()
    tensors.vectors.zero_()
    assert np.array_equal(priors.vectors, before)


def test_priors_share_no_memory_with_what_they_were_made_of(priors, human, adata):
    priors.to_anndata(adata)
    vectors = np.eye(3, dtype=np.float32)
    own = GenePriors.from_arrays(["A", "B", "C"], vectors, source="mine")
    made = {"from_anndata": GenePriors.from_anndata(adata), "from_arrays": own}
    made |= {"open": human, "align": priors, "take": priors.take([0, 1, 2, 3, 4, 5]), "center": priors.center()}
    before = {name: [array.copy() for array in arrays_of(made[name])] for name in made}
    changed = [adata.varm["genetext"], vectors, adata.var_names.to_numpy(), *priors.to_dict().values()]
    changed += [GeneIndex.open("human/test").gene_ids, priors.report.names, priors.report.status, priors.report.mask]
    changed += [array for name in ("without", "unit") for array in arrays_of(getattr(priors, name)())]
    for array in changed:
        if array.flags.writeable:
            array[...] = 0
    for name, arrays in before.items():
        for array, kept in zip(arrays_of(made[name]), arrays, strict=True):
            assert np.array_equal(array, kept), name


def arrays_of(priors):
    return [priors.names, priors.vectors, priors.mask, priors.gene_ids, priors.status, priors.owner_names]


@pytest.mark.parametrize("suffix", [".safetensors", ".parquet"])
def test_a_byte_changed_anywhere_is_found_when_priors_are_loaded(tmp_path, suffix):
    """Bytes that no value depends on (padding, footers' own text) may change; no value ever does."""
    rng = np.random.default_rng(0)
    names = [f"G{number}" for number in range(50)]
    vectors = rng.random((50, 8)).astype(np.float32)
    priors = GenePriors.from_arrays(names, vectors)
    for file in priors.save(tmp_path / f"p{suffix}"):
        whole = file.read_bytes()
        for position in rng.integers(0, len(whole), 40).tolist():
            content = bytearray(whole)
            content[position] ^= 1 << int(rng.integers(8))
            file.write_bytes(content)
            try:
                loaded = GenePriors.load(tmp_path / f"p{suffix}")
            except PriorsError:
                continue
            assert file.suffix == ".parquet"
            assert np.array_equal(loaded.vectors, vectors)
            assert loaded.names.tolist() == names
        file.write_bytes(whole)
