"""Priors in an AnnData, and back: vectors in `varm`, what became of each name in `var`, plain JSON in `uns`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genetext.anndata_copy import copied, put, stored_record
from genetext.anndata_io import opened
from genetext.errors import PriorsError, first_ten
from genetext.keys import Keys
from genetext.names.report import NO_GENE, nullable
from genetext.priors.base import Priors

PART = "priors"
MATCHED = ("gene_id", "symbol", "ensembl", "previous", "synonym", "ortholog", "name")
"""Values of `status` with which a gene has a vector."""


def facts(priors: Priors) -> dict[str, Any]:
    """Return everything about priors but the arrays, as JSON values that an h5ad file can hold."""
    import genetext

    return {
        "genetext_version": genetext.__version__,
        "source": priors.source,
        "fingerprint": priors.fingerprint,
        "steps": list(priors.steps),
        "description": priors.description,
        "control": priors.control,
        "missing": priors.missing,
        "dim": priors.dim,
        "n_genes": len(priors),
        "n_matched": priors.n_matched,
        # A manifest has lists of objects, for which h5ad files have no place.
        "manifest": json.dumps(dict(priors.manifest), sort_keys=True),
    }


def write(priors: Priors, adata: Any, *, key_added: str, copy: bool) -> Any:
    """Write priors into `adata`; see `GenePriors.to_anndata`."""
    refuse_others(priors, adata)
    target = adata.copy() if copy else adata
    keys = Keys(key_added)
    target.varm[keys.vectors] = np.array(priors.vectors, np.float32)
    for column, values in var_columns(priors, keys).items():
        values.index = target.var_names
        target.var[column] = values
    if (priors.names.astype(str) != priors.owner_names.astype(str)).any():
        target.var[_name_key(keys)] = priors.names.astype(str)
        aligned_by = _name_key(keys)
    else:
        aligned_by = ""
        if keys.recorded(target, PART).get("names") == _name_key(keys) and _name_key(keys) in target.var:
            del target.var[_name_key(keys)]
    keys.record(target, PART, {**facts(priors), "names": aligned_by})
    return target if copy else None


def var_columns(priors: Priors, keys: Keys) -> dict[str, "pd.Series[Any]"]:
    """Return the columns of `var`: GeneIDs (nullable integers) and status (categories)."""
    status = pd.Categorical(priors.status.astype(str))
    return {keys.gene_id: pd.Series(nullable(priors.gene_ids)), keys.status: pd.Series(status)}


def _name_key(keys: Keys) -> str:
    """`var`: the names aligned by, where they are not the `var_names`; rows without a GeneID are told apart by them."""
    return f"{keys.base}_aligned_by"


def read(adata: Any, *, key: str) -> dict[str, Any]:
    """Return the fields of the priors in `adata`, sharing no memory with it; see `GenePriors.from_anndata`."""
    keys = Keys(key)
    lacking = [
        where
        for where, present in (
            (f"varm[{keys.vectors!r}]", keys.vectors in adata.varm),
            (f"var[{keys.gene_id!r}]", keys.gene_id in adata.var),
            (f"var[{keys.status!r}]", keys.status in adata.var),
            (f"uns[{keys.uns!r}][{PART!r}]", bool(keys.recorded(adata, PART))),
        )
        if not present
    ]
    if lacking:
        raise PriorsError(f"this AnnData holds no priors under {key!r}: it lacks {', '.join(lacking)}")
    recorded = keys.recorded(adata, PART)
    vectors = np.array(adata.varm[keys.vectors], np.float32).reshape(adata.n_vars, -1)
    status = np.array(adata.var[keys.status].astype(str), dtype=object)
    var_names = np.array(adata.var_names, dtype=object)
    by_others = recorded.get("names") == _name_key(keys)
    if by_others and _name_key(keys) not in adata.var:
        raise PriorsError(
            f"the priors under {key!r} were aligned by the names in var[{_name_key(keys)!r}], which is gone"
        )
    return {
        "names": np.array(adata.var[_name_key(keys)].astype(str), dtype=object) if by_others else var_names,
        "var_names": var_names if by_others else None,
        "vectors": vectors,
        "mask": np.isin(status.astype(str), MATCHED) & (vectors.shape[1] > 0),
        "gene_ids": np.array(adata.var[keys.gene_id].astype("Int64").fillna(NO_GENE), dtype=np.int64),
        "status": status,
        **from_facts(recorded),
    }


def from_facts(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `GenePriors` that `facts` recorded."""
    return {
        "source": recorded["source"],
        "fingerprint": recorded["fingerprint"],
        "manifest": json.loads(recorded["manifest"]),
        "steps": tuple(recorded["steps"]),
        "control": recorded["control"],
        "missing": recorded["missing"],
    }


def refuse_others(priors: Priors, adata: Any) -> None:
    """Raise `PriorsError` where the genes of `adata` are not those that the priors are aligned to, in their order."""
    if adata.n_vars != len(priors):
        raise PriorsError(
            f"the priors are aligned to {len(priors):,} genes, the AnnData has {adata.n_vars:,}: align again, or "
            f"take the same genes from both (priors.take)"
        )
    expected = priors.owner_names
    other = np.flatnonzero(adata.var_names.to_numpy(dtype=object).astype(str) != expected.astype(str))
    if len(other):
        pairs = [f"{expected[row]} / {adata.var_names[row]}" for row in other]
        raise PriorsError(
            f"the priors are aligned to other genes, or in another order (priors / var_names): {first_ten(pairs)}. "
            f"Align again"
        )


def write_h5ad(priors: Priors, source: Path, path: Path, *, key_added: str = "genetext") -> None:
    """Write a copy of an AnnData file with the priors in it; expression is never in memory as a whole.

    Parameters
    ----------
    priors
        Aligned to the genes of `source`.
    source
        `.h5ad` or `.zarr`.
    path
        The file to write, of either format; may be `source`.
    key_added
        Base of the keys, as in `GenePriors.to_anndata`.
    """
    import anndata
    from anndata.io import read_elem, write_elem

    keys = Keys(key_added)
    with opened(source, whole=True) as group, copied(source, group, path) as file:
        # An AnnData of the annotations alone goes through the same door as one in memory.
        shell = anndata.AnnData(var=read_elem(file["var"]), uns=stored_record(file, keys))
        write(priors, shell, key_added=key_added, copy=False)
        put(file, "varm", keys.vectors, shell.varm[keys.vectors])
        put(file, "uns", keys.uns, shell.uns[keys.uns])
        del file["var"]
        write_elem(file, "var", shell.var)
