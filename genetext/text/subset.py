"""A few genes out of a whole species' tables."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from genetext.errors import first_ten


def find_genes(genes: pa.Table, names: Sequence[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Find genes by GeneID, Ensembl id, symbol, or a synonym or earlier symbol that only one gene has.

    Letter case is never changed, since it tells species apart; a name in another case is named in the reason.

    Parameters
    ----------
    genes
        The `genes` table of a snapshot.
    names
        What to look for, of mixed kinds.

    Returns
    -------
    found, not_found
        GeneID per name; reason per name.
    """
    own: dict[str, set[int]] = defaultdict(set)
    other: dict[str, set[int]] = defaultdict(set)
    columns = genes.select(["gene_id", "symbol", "ensembl_ids", "synonyms", "previous"]).to_pydict()
    symbols = dict(zip(columns["gene_id"], columns["symbol"], strict=True))
    for uid, symbol, ensembl, synonyms, previous in zip(*columns.values(), strict=True):
        for name in (str(uid), symbol, *ensembl):
            own[name].add(uid)
        for name in (*synonyms, *previous):
            other[name].add(uid)
    folded = _folded(own)
    found, not_found = {}, {}
    for name in dict.fromkeys(names):
        plain = re.sub(r"^(ENS[A-Z]*G\d+)\.\d+$", r"\1", name.strip())
        hits = own.get(plain) or other.get(plain) or set()
        if len(hits) == 1:
            (found[name],) = hits
        elif hits:
            not_found[name] = f"ambiguous: {first_ten([f'{symbols[uid]} ({uid})' for uid in sorted(hits)])}"
        else:
            near = sorted(symbols[uid] for uid in folded.get(plain.casefold(), ()))
            not_found[name] = f"unknown name; {first_ten(near)} is written otherwise" if near else "unknown name"
    return found, not_found


def keep_genes(tables: Mapping[str, pa.Table], gene_ids: Sequence[int]) -> dict[str, pa.Table]:
    """Return a snapshot's tables with the rows of some genes, their human orthologs and their former selves."""
    ids = pa.array(sorted(set(gene_ids)), pa.int64())
    own = ("genes", "designations", "orthologs")
    kept = {name: tables[name].filter(pc.is_in(tables[name]["gene_id"], ids)) for name in own}
    human = pc.filter(kept["orthologs"]["human_gene_id"], kept["orthologs"]["one_to_one"]).combine_chunks()
    texts = pa.concat_arrays([ids, human.cast(pa.int64())])
    kept |= {name: tables[name].filter(pc.is_in(tables[name]["gene_id"], texts)) for name in ("summaries", "go")}
    kept["history"] = tables["history"].filter(pc.is_in(tables["history"]["gene_id"], ids))
    return kept


def _folded(names: Mapping[str, set[int]]) -> dict[str, set[int]]:
    folded: dict[str, set[int]] = defaultdict(set)
    for name, uids in names.items():
        folded[name.casefold()] |= uids
    return folded
