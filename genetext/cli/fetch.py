"""`genetext fetch`: bring the text of a species into the cache."""

from typing import Annotated

import typer

from genetext.cli import console

Species = Annotated[
    str,
    typer.Option("--species", "-s", help="Common name, Latin name or NCBI taxonomy id: human, 'Mus musculus', 7955."),
]
Source = Annotated[
    str, typer.Option("--source", help="auto (NCBI, else the bundled facts), ncbi, facts, a mirror's URL, or a folder.")
]
Genes = Annotated[
    str | None,
    typer.Option(
        "--genes", help="Only these genes: OPN4,TP53, or a file with one per line; of NCBI, through E-utilities."
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Open no connection; use what was fetched before.")]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def fetch(
        species: Species = "human",
        source: Source = "auto",
        genes: Genes = None,
        sections: Annotated[
            str | None,
            typer.Option("--sections", help="Also fetch the sources of these sections, as for build-index: +generif."),
        ] = None,
        offline: Offline = False,
        as_json: console.Json = False,
        quiet: console.Quiet = False,
    ) -> None:
        """Fetch what NCBI says about the genes of a species, and keep it as a dated, hashed snapshot.

        Run it where there is a network, copy the cache, and build elsewhere with --offline.

        NCBI_EMAIL is sent to E-utilities (--genes), as NCBI asks. NCBI_API_KEY raises their limit; it is never shown.

        GENETEXT_NCBI_URL and GENETEXT_EUTILS_URL put mirrors in NCBI's place. GENETEXT_CACHE names the cache.

        GENETEXT_MAX_FILE, _LINE, _GENE (bytes, unpacked) and _RATIO limit what is read of a file.
        """
        from genetext.acquire import fetch as run
        from genetext.layers import Request, Texts
        from genetext.text.template import Template

        texts = Texts(Template(sections=tuple(sections.split(",")))) if sections else None
        with console.progress(quiet=quiet) as progress:
            snapshot = run(species, source=source, genes=gene_list(genes), offline=offline, progress=progress)
            layers = texts.gather(snapshot, Request(offline=offline, progress=progress)) if texts else []
        facts = {
            "path": str(snapshot.path),
            "digest": snapshot.digest,
            "species": snapshot.manifest["species"],
            "source": snapshot.manifest["source"],
            "counts": snapshot.manifest["counts"],
            "layers": [{"path": str(layer.path), **layer.manifest.content} for layer in layers],
        }
        if as_json:
            console.emit(facts)
            return
        counts = facts["counts"]
        console.note(
            f"{facts['species']['name']}: {counts['genes']:,} genes, {counts['summaries']:,} summaries, "
            f"{counts['go']:,} GO annotations, {counts['orthologs']:,} ortholog pairs, from {facts['source']['kind']}",
            quiet=quiet,
        )
        for layer in layers:
            console.note(console.of_layer(layer.manifest.content), quiet=quiet)
        console.line(snapshot.path)
        for layer in layers:
            console.line(layer.path)


def gene_list(genes: str | None) -> list[str] | None:
    """Return the names given to `--genes`: a comma-separated list, or the lines of a file."""
    from pathlib import Path

    if genes is None:
        return None
    try:
        is_file = Path(genes).is_file()
    except (OSError, ValueError):  # a list may be longer than a file's name can be
        is_file = False
    if is_file:
        try:
            given = Path(genes).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise typer.BadParameter(
                f"--genes {genes} is not a text file in UTF-8 (byte {error.start:,}): give one with a name per line"
            ) from None
        except OSError as error:
            raise typer.BadParameter(f"--genes {genes} cannot be read: {error.strerror or error}") from None
    else:
        given = genes.split(",")
    names = [name.strip() for name in given if name.strip()]
    if not names:
        raise typer.BadParameter(f"--genes {genes!r} names no gene")
    return names
