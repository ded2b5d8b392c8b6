"""`genetext encoders`: what can encode, and fetching weights ahead of time."""

from typing import Annotated

import typer

from genetext.cli import console


def register(app: typer.Typer) -> None:
    """Add the group of commands to the application."""
    group = typer.Typer(invoke_without_command=True)
    app.add_typer(group, name="encoders", help="List the encoders; fetch their weights ahead of time.")

    @group.callback()
    def listing(context: typer.Context, as_json: console.Json = False) -> None:
        """List the encoders: dimension, pooling, licence, size, and whether their weights are here."""
        if context.invoked_subcommand is not None:
            return
        from genetext import encoders

        rows = [row.to_json() for row in encoders.available()]
        if as_json:
            console.emit(rows)
            return
        import pandas as pd

        console.table(
            pd.DataFrame(rows, dtype=object),
            {
                "name": str,
                "model": str,
                "dim": lambda dim: "" if dim is None else str(dim),
                "pooling": str,
                "licence": str,
                "size_mb": lambda size: str(size) if size else "",
                "present": lambda present: {True: "yes", False: "no", None: ""}[present],
            },
        )

    @group.command()
    def pull(name: Annotated[str, typer.Argument(help="A preset's name or a hub id.")]) -> None:
        """Download an encoder's weights, so that builds work offline later."""
        from genetext import encoders

        console.line(encoders.pull(name))
