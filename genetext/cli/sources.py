"""`genetext sources`: whose text there is, under which licence, and what each section says."""

import typer

from genetext.cli import console


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def sources(as_json: console.Json = False) -> None:
        """List the sources of text and their sections, for `build-index --sections`."""
        from genetext.sources.of_snapshot import GeneOntology, NcbiGene
        from genetext.sources.registry import all_sources

        described = [NcbiGene(), GeneOntology(), *all_sources()]
        if as_json:
            console.emit([{**source.to_json(), "url": source.url} for source in described])
            return
        import pandas as pd

        rows = [
            {
                "section": part if source in described[:2] else f"{source.name}.{part}",
                "says": says,
                "source": source.title,
                "licence": source.licence.name,
                "from": source.place,
            }
            for source in described
            for part, says in source.sections.items()
        ]
        console.table(pd.DataFrame(rows, dtype=object), dict.fromkeys(rows[0], str))
