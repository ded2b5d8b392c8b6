"""`genetext embed-cells`: from a file of cells to the same file with cell vectors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genetext.cli import console
from genetext.cli.match import Control, Expression, Layer, Post, parse_control
from genetext.cli.names import Orthologs, takes_names
from genetext.cli.search import Index, choose

if TYPE_CHECKING:
    from genetext.names import NameOptions

_WEIGHTINGS = ("mean", "top", "contrast", "centred", "zscore", "tfidf")
_EXPRESSIONS = ("auto", "counts", "linear", "log")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("embed-cells")
    @takes_names
    def embed_cells(
        data: Annotated[Path, typer.Argument(help=".h5ad or .zarr; it is not changed.")],
        output: Annotated[Path, typer.Option("--output", "-o", help="What to write: .h5ad or .zarr.")],
        index: Index = None,
        weighting: Annotated[
            str,
            typer.Option(
                "--weighting",
                "-w",
                help="mean (of log1p CP10k), top (plain mean of the --top-n genes), or against the data set: contrast, "
                "centred, zscore, tfidf.",
            ),
        ] = "mean",
        top_n: Annotated[int | None, typer.Option("--top-n", min=1, help="Keep so many genes of each cell.")] = None,
        *,
        names: "NameOptions",
        orthologs: Orthologs = True,
        expression: Expression = "auto",
        layer: Layer = None,
        target_sum: Annotated[float, typer.Option("--target-sum", help="Counts that cells are scaled to.")] = 1e4,
        pca: Annotated[
            int | None, typer.Option("--pca", min=1, help="Project the gene vectors to so many directions first.")
        ] = None,
        post: Post = "",
        control: Control = None,
        unit: Annotated[bool, typer.Option("--unit", help="Scale cell vectors to unit length.")] = False,
        key_added: Annotated[str, typer.Option("--key-added", help="Base of the AnnData keys.")] = "genetext",
        block_size: Annotated[
            int | None,
            typer.Option("--block-size", min=1, help="Cells read at once; the result does not depend on it."),
        ] = None,
        threads: Annotated[int | None, typer.Option("--threads", min=1, help="Default: one per core.")] = None,
        as_json: console.Json = False,
        quiet: console.Quiet = False,
    ) -> None:
        """Give each cell the weighted mean of the vectors of the genes it expresses.

        The file is streamed: memory does not grow with the number of cells, and the result appears when it is whole.
        """
        console.require_cells(data, ".h5ad", ".zarr", output=output)
        if weighting not in _WEIGHTINGS:
            raise typer.BadParameter(f"--weighting {weighting}: choose {', '.join(_WEIGHTINGS)}")
        if expression not in _EXPRESSIONS:
            raise typer.BadParameter(f"--expression {expression}: choose {', '.join(_EXPRESSIONS)}")
        if weighting == "top" and top_n is None:
            raise typer.BadParameter("--weighting top needs --top-n, for example --top-n 100")
        seeded = parse_control(control)
        from genetext.cells import Options, embed_file
        from genetext.priors import GenePriors

        priors = GenePriors.open(choose(index))
        if post:
            priors = priors.transform(post)
        if seeded is not None:
            priors = getattr(priors, seeded[0])(seeded[1])
        with console.progress(quiet=quiet) as progress:
            done = embed_file(
                data,
                output,
                priors,
                Options(weighting, top_n, expression, layer, target_sum, pca, unit),
                key_added=key_added,
                align={"orthologs": orthologs, **names.keywords()},
                block_size=block_size,
                threads=threads,
                progress=progress,
            )
        if as_json:
            genes = done.report.to_json() if done.report is not None else None
            shape = {"n_cells": done.n_cells, "dim": done.dim}
            console.emit({"path": str(done.path), **shape, "cells": dict(done.facts), "genes": genes})
            return
        if done.report is not None:
            console.note(str(done.report), quiet=quiet)
        lost = {name: done.facts[f"n_{name}"] for name in ("empty", "unmatched", "flat") if done.facts[f"n_{name}"]}
        without = f" ({', '.join(f'{count:,} {name}' for name, count in lost.items())}: NaN)" if lost else ""
        kind = {"counts": "", "linear": "amounts in ", "log": "log values in "}[str(done.facts["expression"])]
        console.note(
            f"{done.n_cells:,} cells x {done.dim}{without} by {weighting} of {kind}{done.facts['matrix']}, "
            f"in obsm[X_{key_added}]",
            quiet=quiet,
        )
        console.line(done.path)
