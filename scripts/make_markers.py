"""Make the marker sentences that genetext ships: `genetext/data/texts/asctb`, of HuBMAP's ASCT+B tables.

    python -m scripts.make_markers FILE...      # tables with a header: marker, cell_type, marker_kind, organ

Run it after `make_facts`, whose names of genes it goes by. What is taken are facts: which gene is listed as a marker of
which type of cell. The same input gives the same bytes under one version of pyarrow.
"""

import argparse
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from genetext import disk, manifest
from genetext.layers import Request, gather
from genetext.sources.asctb import Asctb
from genetext.species import HUMAN
from genetext.text.facts import open_facts
from genetext.text.layer import FORMAT, FORMAT_VERSION


def main() -> None:
    """Read the tables, match their genes, and write the layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("genetext/data/texts/asctb"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        layer = gather(Asctb(), open_facts(HUMAN), files=arguments.tables, request=Request(root=Path(cache)))
        table = pq.read_table(layer.path / "rows.parquet")
        with disk.atomic_directory(arguments.out) as temporary:
            pq.write_table(
                table, temporary / "rows.parquet", compression="zstd", compression_level=22, write_statistics=False
            )
            manifest.write(temporary, format=FORMAT, format_version=FORMAT_VERSION, content=layer.manifest.content)
    size = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{arguments.out}: {layer.manifest['counts']}, unmatched {layer.manifest['unmatched']}, {size:,} bytes")


if __name__ == "__main__":
    main()
