"""A few genes out of a whole species' tables."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc


def keep_genes(tables: Mapping[str, pa.Table], gene_ids: Sequence[int]) -> dict[str, pa.Table]:
    """Return a snapshot's tables with the rows of some genes, their human orthologs and their former selves."""
    ids = pa.array(sorted(set(gene_ids)), pa.int64())
    kept = {
        name: tables[name].filter(pc.is_in(tables[name]["gene_id"], ids))
        for name in ("genes", "designations", "orthologs")
    }
    human = pc.filter(kept["orthologs"]["human_gene_id"], kept["orthologs"]["one_to_one"]).combine_chunks()
    texts = pa.concat_arrays([ids, human.cast(pa.int64())])
    kept |= {name: tables[name].filter(pc.is_in(tables[name]["gene_id"], texts)) for name in ("summaries", "go")}
    kept["history"] = tables["history"].filter(pc.is_in(tables["history"]["gene_id"], ids))
    return kept
