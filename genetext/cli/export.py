"""`genetext export`: an index's vectors in the forms that other programs read."""

from pathlib import Path
from typing import Annotated

import typer

from genetext.cli import console
from genetext.cli.search import choose

_FORMATS = {"npy": "npy", "parquet": "parquet", "vec": "word2vec", "txt": "word2vec", "safetensors": "safetensors"}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def export(
        path: Annotated[Path, typer.Argument(help="The file to write: .npy, .parquet, .vec or .safetensors.")],
        index: Annotated[str | None, typer.Option("--index", "-i", help="human/minilm, human, or a folder.")] = None,
        format_: Annotated[
            str | None,
            typer.Option("--format", "-f", help="npy, parquet, word2vec, safetensors. Default: by the name."),
        ] = None,
        key: Annotated[str, typer.Option("--key", help="What names a gene: symbol, gene_id, ensembl_id.")] = "symbol",
    ) -> None:
        """Write the gene vectors to a file: npy + tsv, parquet, word2vec text, or safetensors + json."""
        chosen = format_ or _FORMATS.get(path.suffix.lstrip("."))
        if chosen is None or chosen not in _FORMATS.values():
            raise typer.BadParameter(
                f"cannot tell the format of {path.name}: pass --format npy, parquet, word2vec or safetensors"
            )
        from genetext.export import export as run
        from genetext.index import GeneIndex

        opened = GeneIndex.open(choose(index))
        written = run(opened, path, format=chosen, key=key)
        console.note(f"{len(opened):,} vectors of dimension {opened.dim}")
        for file in written:
            console.line(file)
