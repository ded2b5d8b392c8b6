"""`genetext cache`: where the cache is, what is in it, and removing it."""

from typing import Annotated

import typer

from genetext.cli import console


def register(app: typer.Typer) -> None:
    """Add the group of commands to the application."""
    group = typer.Typer(no_args_is_help=True)
    app.add_typer(group, name="cache", help="Where the cache is, what is in it, and removing it.")

    @group.command()
    def path() -> None:
        """Print the folder of the cache ($GENETEXT_CACHE, else the platform's)."""
        from genetext.disk import cache_dir

        console.line(cache_dir())

    @group.command("list")
    def list_command(as_json: console.Json = False) -> None:
        """List downloads, snapshots, vectors and indices, with what uses them and what is damaged."""
        import pandas as pd

        from genetext.cache import entries

        rows = [
            {
                "kind": entry.kind,
                "name": entry.name,
                "MB": round(entry.size / 1e6, 1),
                "used by": ", ".join(entry.used_by),
            }
            for entry in entries()
        ]
        if as_json:
            console.emit(rows)
        elif rows:
            console.table(pd.DataFrame(rows), dict.fromkeys(rows[0], str))
        else:
            console.note("the cache is empty")

    @group.command()
    def prune(
        dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be removed.")] = False,
    ) -> None:
        """Remove snapshots and vectors that no index was made from, and leftovers of killed runs.

        The snapshot that names are resolved by and vectors that were paid for are kept.
        """
        from genetext.cache import prune as run

        removed = run(dry_run=dry_run)
        for line in removed:
            console.line(line)
        console.note(f"{len(removed)} {'would be ' if dry_run else ''}removed")

    @group.command()
    def clear(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
        """Remove everything that genetext keeps in the cache, paid vectors and the record of submitted batches too."""
        from genetext.cache import clear as run
        from genetext.disk import cache_dir

        submitted = len(list(cache_dir().glob("batches/*.json")))
        lost = f", and forget {submitted} submitted batches that are paid for" if submitted else ""
        if yes or typer.confirm(f"Remove all of genetext's files in {cache_dir()}{lost}?", err=True):
            run()
