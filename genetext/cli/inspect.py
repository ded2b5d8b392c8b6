"""`genetext list`, `info` and `verify`: what is in the cache, and whether it is whole."""

from typing import Annotated

import typer

from genetext.cli import console
from genetext.cli.search import choose


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""

    @app.command("list")
    def list_command(as_json: console.Json = False) -> None:
        """List the indices in the cache."""
        import pandas as pd

        from genetext.errors import GeneIndexError
        from genetext.index import GeneIndex
        from genetext.indices import list_indices

        rows = []
        for path in list_indices():
            try:
                index = GeneIndex.open(path)
            except GeneIndexError as error:
                console.note(f"left out: {error}")
                continue
            rows.append(
                {
                    "index": f"{path.parent.name}/{path.name}",
                    "genes": len(index),
                    "dim": index.dim,
                    "encoder": str(index.embedding_spec),
                    "source": index.manifest["snapshot"]["source"]["kind"],
                    "fingerprint": index.fingerprint[:12],
                }
            )
        if as_json:
            console.emit(rows)
        elif rows:
            console.table(pd.DataFrame(rows), dict.fromkeys(rows[0], str))
        else:
            console.note("no index was built yet: genetext build-index --species human")

    @app.command()
    def info(
        index: Annotated[str | None, typer.Argument(help="human/minilm, human, or a folder.")] = None,
        gene: Annotated[str | None, typer.Option("--gene", "-g", help="Show what the index holds of one gene.")] = None,
    ) -> None:
        """Print the manifest of an index, or what it holds of one gene, as JSON."""
        from genetext.index import GeneIndex

        opened = GeneIndex.open(choose(index))
        if gene is None:
            console.emit({"path": str(opened.path), "fingerprint": opened.fingerprint, **opened.manifest.to_json()})
        else:
            console.emit(opened.gene(gene))

    @app.command()
    def verify(
        target: Annotated[
            str | None,
            typer.Argument(help="An index (human/minilm), a folder, or a file of priors. Default: all of the cache."),
        ] = None,
        as_json: console.Json = False,
    ) -> None:
        """Compare every byte of an index, a snapshot, a model, priors or the whole cache with its manifest."""
        from genetext.disk import expanded
        from genetext.indices import locate
        from genetext.verify import verify as check

        targets = None
        if target is not None:
            path = expanded(target)
            targets = [path if path.is_file() or (path / "manifest.json").is_file() else locate(target)]
        checked, problems = check(targets)
        if as_json:
            console.emit({"checked": checked, "problems": problems})
            if problems:
                raise typer.Exit(1)
            return
        for problem in problems:
            console.line(problem)
        if problems:
            console.note(f"{len(problems)} problems in {checked} places: build what is damaged again")
            raise typer.Exit(1)
        console.note(f"{checked} checked, every byte is as its manifest says")
