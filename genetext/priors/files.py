"""Priors as files that other models load, and that come back whole. No pickle among them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genetext import disk, manifest
from genetext.errors import DamagedFile, PriorsError
from genetext.names.report import NO_GENE
from genetext.priors.anndata import facts, from_facts, refuse_others
from genetext.priors.base import Priors, refuse_missing

TENSOR = "vectors"


def save(priors: Priors, path: Path) -> list[Path]:
    """Write priors to `path`, in the form that its suffix names; return the files written.

    `.safetensors`
        Tensor `vectors (n_keys, dim)` of the genes that have one, and beside it a `.json` whose `keys` name its rows:
        `dict(zip(keys, vectors))` is the dict of arrays that scGPT-, GEARS- and scLAMBDA-like code takes.
    `.parquet`
        One row per gene: `name`, `gene_id`, `status`, `has_vector`, `vector`; `var_name` too if they were aligned by
        names that are not the `var_names`.
    """
    return _of(path)[0](priors, path)


def load(path: Path) -> dict[str, Any]:
    """Return the fields of the priors that `save` wrote."""
    if not path.is_file():
        raise PriorsError(f"there is no file {path}")
    try:
        return _of(path)[1](path)
    except (KeyError, TypeError, ValueError, OSError, RecursionError, pa.ArrowException, DamagedFile) as error:
        if isinstance(error, PriorsError):
            raise
        raise PriorsError(f"{path} holds no priors that genetext wrote: {error}") from error


def to_scetm(priors: Priors, adata: Any, *, key: str = "gene_emb") -> None:
    """Write `varm["gene_emb"] (n_vars, dim)`, which scETM fixes as a part of its gene embedding.

    scETM knows no mask, so every gene needs a row that means something.

    Raises
    ------
    PriorsError
        A gene has no vector, and the priors were not aligned with `missing="mean"` or `missing="zero"`; or the genes
        of `adata` are others.
    """
    if priors.missing == "mask":
        refuse_missing(
            priors, why='scETM has no mask: align with missing="mean" or missing="zero", or leave these genes out'
        )
    refuse_others(priors, adata)
    adata.varm[key] = np.array(priors.vectors, np.float32)


def _save_safetensors(priors: Priors, path: Path) -> list[Path]:
    from safetensors.numpy import save as pack

    named = priors.to_dict()
    vectors = np.array(list(named.values()), np.float32).reshape(len(named), priors.dim)
    missing = priors.vectors[~priors.mask]
    tensors = {TENSOR: vectors}
    if priors.missing == "mean" and len(missing) and priors.dim:
        tensors["missing"] = np.ascontiguousarray(missing[:1])
    sidecar = path.with_suffix(".json")
    recorded: Mapping[str, Any] = {
        **facts(priors),
        "format": "genetext-priors",
        "format_version": 1,
        "tensor": TENSOR,
        "keys": list(named),
        "index_fingerprint": priors.fingerprint,
        "names": [str(name) for name in priors.names],
        "var_names": None if priors.var_names is None else [str(name) for name in priors.var_names],
        "has_vector": priors.mask.tolist(),
        "gene_ids": priors.gene_ids.tolist(),
        "status": priors.status.astype(str).tolist(),
    }
    packed = pack(tensors)
    with disk.atomic_pair(path, sidecar) as (handle, notes):
        handle.write(packed)
        notes.write(disk.json_bytes(manifest.signed({**recorded, "sha256": hashlib.sha256(packed).hexdigest()})))
    return [path, sidecar]


def _load_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise PriorsError(f"{path} is damaged: {error}") from error
    sidecar = path.with_suffix(".json")
    recorded = disk.read_json(sidecar)
    _check_digest(recorded, sidecar)
    if recorded.get("sha256") not in (None, disk.sha256_file(path)):
        raise PriorsError(f"{path} is not the file that {sidecar.name} was written for: it was changed, save it again")
    packed, place = tensors[TENSOR], {key: row for row, key in enumerate(recorded["keys"])}
    if packed.shape[0] != len(place):
        raise PriorsError(f"{path} has {packed.shape[0]:,} vectors, {path.with_suffix('.json')} {len(place):,} keys")
    mask = np.array(recorded["has_vector"], bool)
    vectors = np.zeros((len(mask), packed.shape[1]), np.float32)
    vectors[mask] = packed[[place[name] for name, has in zip(recorded["names"], mask, strict=True) if has]]
    if "missing" in tensors:
        vectors[~mask] = tensors["missing"]
    return {
        "names": np.array(recorded["names"], object),
        "var_names": None if recorded.get("var_names") is None else np.array(recorded["var_names"], object),
        "vectors": vectors,
        "mask": mask,
        "gene_ids": np.array(recorded["gene_ids"], np.int64),
        "status": np.array(recorded["status"], object),
        **from_facts(recorded),
    }


def _check_digest(recorded: Any, path: Path) -> None:
    """Refuse facts that were changed after they were written; files of older versions have no digest."""
    if not isinstance(recorded, dict):
        raise PriorsError(f"{path} holds no facts about priors")
    if recorded.get("digest") not in (None, manifest.signed(recorded)["digest"]):
        raise PriorsError(f"{path} was changed after it was written (its digest differs): save the priors again")


def _save_parquet(priors: Priors, path: Path) -> list[Path]:
    flat = pa.array(np.ascontiguousarray(priors.vectors).ravel())
    others = priors.var_names is not None and bool((priors.names.astype(str) != priors.var_names.astype(str)).any())
    var_name = {"var_name": pa.array([str(name) for name in priors.owner_names], pa.string())} if others else {}
    table = pa.table(
        {
            "name": pa.array([str(name) for name in priors.names], pa.string()),
            **var_name,
            "gene_id": pa.array(priors.gene_ids, pa.int64(), mask=priors.gene_ids == NO_GENE),
            "status": pa.array(priors.status.astype(str).tolist(), pa.string()),
            "has_vector": pa.array(priors.mask),
            # A list of length 0 has no length to be recorded by.
            "vector": pa.FixedSizeListArray.from_arrays(flat, priors.dim)
            if priors.dim
            else pa.array([[]] * len(priors), pa.list_(pa.float32())),
        },
        metadata={"genetext": json.dumps(manifest.signed(facts(priors)), sort_keys=True)},
    )
    with disk.atomic_file(path) as handle:
        pq.write_table(table, handle, compression="zstd", write_page_checksum=True)
    return [path]


def _load_parquet(path: Path) -> dict[str, Any]:
    table = pq.read_table(path, page_checksum_verification=True)
    recorded = json.loads((table.schema.metadata or {})[b"genetext"])
    _check_digest(recorded, path)
    vectors = np.zeros((table.num_rows, recorded["dim"]), np.float32)
    if recorded["dim"] and table.num_rows:
        vectors[:] = table["vector"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, recorded["dim"])
    return {
        "names": np.array(table["name"].to_pylist(), object),
        "var_names": np.array(table["var_name"].to_pylist(), object) if "var_name" in table.column_names else None,
        "vectors": vectors,
        "mask": np.array(table["has_vector"].to_pylist(), bool),
        "gene_ids": np.array([gene_id or 0 for gene_id in table["gene_id"].to_pylist()], np.int64),
        "status": np.array(table["status"].to_pylist(), object),
        **from_facts(recorded),
    }


_Form = tuple[Callable[[Priors, Path], list[Path]], Callable[[Path], dict[str, Any]]]
_FORMS: Mapping[str, _Form] = {
    ".safetensors": (_save_safetensors, _load_safetensors),
    ".parquet": (_save_parquet, _load_parquet),
}


def _of(path: Path) -> _Form:
    if path.suffix not in _FORMS:
        raise PriorsError(f"cannot tell the form of {path.name}: name it {' or '.join(_FORMS)}")
    return _FORMS[path.suffix]
