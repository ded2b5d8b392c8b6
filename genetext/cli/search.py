"""`genetext search` and `genetext neighbors`: questions to an index."""

from typing import TYPE_CHECKING, Annotated

import typer

from genetext.cli import console

if TYPE_CHECKING:
    import pandas as pd

Index = Annotated[
    str | None, typer.Option("--index", "-i", help="human/minilm, human, or a folder. Default: the only one.")
]
K = Annotated[int, typer.Option("-k", min=1, help="How many genes.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""

    @app.command()
    def search(
        text: Annotated[str, typer.Argument(help="What to look for, in plain words.")],
        index: Index = None,
        k: K = 10,
        encoder: Annotated[
            str | None, typer.Option("--encoder", "-e", help="Refuse an index that was built with another encoder.")
        ] = None,
        as_json: console.Json = False,
    ) -> None:
        """Find the genes whose text is nearest to a text."""
        from genetext.index import GeneIndex

        _show(GeneIndex.open(choose(index), encoder=encoder).search(text, k), as_json=as_json)

    @app.command()
    def neighbors(
        gene: Annotated[str, typer.Argument(help="Symbol, GeneID or Ensembl id.")],
        index: Index = None,
        k: K = 10,
        as_json: console.Json = False,
    ) -> None:
        """Find the genes whose text is nearest to a gene's own text."""
        from genetext.index import GeneIndex

        _show(GeneIndex.open(choose(index)).neighbors(gene, k), as_json=as_json)


def choose(name: str | None) -> str:
    """Return the index that is meant when none is named: the only one of all genes, or the only one."""
    if name is not None:
        return name
    from genetext.errors import GeneIndexError, first_ten
    from genetext.indices import list_indices

    indices = list_indices()
    if not indices:
        raise GeneIndexError("no index was built yet: genetext build-index --species human")
    whole = [path for path in indices if "-genes-" not in path.name] or indices
    if len(whole) > 1:
        names = [f"{path.parent.name}/{path.name}" for path in whole]
        raise GeneIndexError(f"there are several indices: say which with --index ({first_ten(names)})")
    return str(whole[0])


def _show(genes: "pd.DataFrame", *, as_json: bool) -> None:
    if as_json:
        console.emit(genes.to_dict(orient="records"))
        return
    console.table(genes, {"symbol": str, "gene_id": str, "score": console.number, "source": str, "name": str})
