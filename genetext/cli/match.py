"""`genetext match` and `genetext priors`: what becomes of the genes of a data set, and their vectors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genetext.cli import console
from genetext.cli.names import Orthologs, takes_names
from genetext.cli.search import Index, choose

if TYPE_CHECKING:
    from genetext.names import NameOptions

Data = Annotated[Path, typer.Argument(help=".h5ad, .zarr, or a text with one gene name per line.")]
Expression = Annotated[
    str,
    typer.Option("--expression", help="What the matrix holds: counts, linear (CPM, TPM), log. auto: counts, else log."),
]
Layer = Annotated[
    str | None, typer.Option("--layer", help="Where it is: a layer, or raw. Default: layers/counts, X, raw.")
]
_SUFFIXES = (".h5ad", ".safetensors", ".parquet")
Post = Annotated[str, typer.Option("--post", help="Then: center, abtt:3, whiten, pca:64, unit; commas between.")]
Control = Annotated[str | None, typer.Option("--control", help="Use a control instead: permuted:SEED or random:SEED.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""

    @app.command()
    @takes_names
    def match(
        data: Data,
        *,
        names: "NameOptions",
        to: Annotated[
            str | None, typer.Option("--to", help="Give genes of this species, through one-to-one orthologs.")
        ] = None,
        as_json: console.Json = False,
        as_tsv: Annotated[bool, typer.Option("--tsv", help="Print one line per name on stdout.")] = False,
        quiet: console.Quiet = False,
    ) -> None:
        """Say which gene each name of a data set means, and why some mean none. Reads no expression, opens no index."""
        if as_json and as_tsv:
            raise typer.BadParameter("choose one of --json and --tsv")
        from genetext.errors import TooFewMatched
        from genetext.names import match as match_names
        from genetext.names.columns import read

        try:
            report = match_names(read(data), to=to, **names.keywords())
        except TooFewMatched as error:
            # What a program asked for comes out all the same: it says which names to look at.
            if as_json or as_tsv:
                _print(error.report, as_json=as_json)
            raise
        if as_json or as_tsv:
            _print(report, as_json=as_json)
            console.note(str(report), quiet=quiet)
        else:
            console.line(str(report))

    @app.command("priors")
    @takes_names
    def priors_command(
        data: Data,
        output: Annotated[
            Path,
            typer.Option(
                "--output", "-o", help="What to write: .h5ad (a copy with the vectors), .safetensors, .parquet."
            ),
        ],
        index: Index = None,
        *,
        names: "NameOptions",
        missing: Annotated[
            str, typer.Option("--missing", help="Rows of genes without a vector: mask, zero, mean; or error.")
        ] = "mask",
        orthologs: Orthologs = True,
        post: Post = "",
        control: Control = None,
        key_added: Annotated[str, typer.Option("--key-added", help="Base of the AnnData keys.")] = "genetext",
        as_json: console.Json = False,
        quiet: console.Quiet = False,
    ) -> None:
        """Align the vectors of an index to the genes of a data set, and write them."""
        if output.suffix not in _SUFFIXES:
            raise typer.BadParameter(f"cannot tell the form of {output.name}: name it {', '.join(_SUFFIXES)}")
        if output.suffix == ".h5ad" and data.suffix != ".h5ad":
            raise typer.BadParameter(f"an .h5ad is written from an .h5ad, not from {data.name}")
        console.require_apart(data, output)
        if missing not in ("mask", "zero", "mean", "error"):
            raise typer.BadParameter(f"--missing {missing}: mask, zero, mean or error")
        seeded = parse_control(control)
        from genetext.names.columns import read
        from genetext.priors import GenePriors
        from genetext.priors.anndata import write_h5ad

        priors = GenePriors.open(choose(index)).align(
            read(data),
            missing=missing,  # type: ignore[arg-type]
            orthologs=orthologs,
            **names.keywords(),
        )
        report = priors.report
        assert report is not None
        if post:
            priors = priors.transform(post)
        if seeded is not None:
            priors = getattr(priors, seeded[0])(seeded[1])
        written = [output]
        if output.suffix == ".h5ad":
            write_h5ad(priors, data, output, key_added=key_added)
        else:
            written = priors.save(output)
        if as_json:
            console.emit(
                {**report.to_json(), "description": priors.description, "files": [str(path) for path in written]}
            )
            return
        console.note(f"{report}\n{priors.description}", quiet=quiet)
        for path in written:
            console.line(path)


def _print(report: Any, *, as_json: bool) -> None:
    if as_json:
        console.emit(report.to_json())
    else:
        console.tsv(report.to_frame())


def parse_control(text: str | None) -> tuple[str, int] | None:
    """Read `permuted:7` as the name of a control and its seed."""
    if text is None:
        return None
    name, _, seed = text.partition(":")
    if name not in ("permuted", "random") or not ((seed or "0").isdecimal() and seed.isascii()):
        raise typer.BadParameter(f"--control {text}: permuted:SEED or random:SEED")
    return name, int(seed or 0)
