"""`genetext annotate`: from a file of cells to the same file with cell types."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genetext.cli import console
from genetext.cli.match import Expression, Layer
from genetext.cli.names import Orthologs, takes_names
from genetext.cli.search import choose
from genetext.escape import printable

if TYPE_CHECKING:
    from genetext.names import NameOptions

_METHODS = ("markers", "vectors")
_LAPLACIANS = ("unnormalised", "normalised")
_EXPRESSIONS = ("auto", "counts", "linear", "log")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    @takes_names
    def annotate(
        data: Annotated[Path, typer.Argument(help=".h5ad; it is not changed.")],
        labels: Annotated[
            Path, typer.Option("--labels", "-l", help="A text: name, or name<TAB>definition, on each line.")
        ],
        output: Annotated[Path, typer.Option("--output", "-o", help="What to write: .h5ad.")],
        index: Annotated[
            list[str] | None,
            typer.Option("--index", "-i", help="human/minilm; more than once for several. Default: the only one."),
        ] = None,
        ontology: Annotated[
            Path | None, typer.Option("--ontology", help="JSON of an ontology that has the names: cl.json, or its .gz.")
        ] = None,
        method: Annotated[str, typer.Option("--method", help="markers (of groups of cells) or vectors.")] = "markers",
        logits: Annotated[
            str | None, typer.Option("--logits", help="Refine these instead: a key of obsm. Needs no index.")
        ] = None,
        groups: Annotated[
            str, typer.Option("--groups", help="leiden, or a column of obs: cells that are judged together.")
        ] = "leiden",
        rep: Annotated[
            str | None, typer.Option("--rep", help="Coordinates of cells, a key of obsm. Default: own components.")
        ] = None,
        k: Annotated[int, typer.Option("-k", min=1, help="Neighbours of each cell.")] = 15,
        lam: Annotated[float, typer.Option("--lam", min=0, help="Strength of smoothing; 0: none.")] = 1.0,
        laplacian: Annotated[str, typer.Option("--laplacian", help="unnormalised or normalised.")] = "unnormalised",
        min_confidence: Annotated[
            float, typer.Option("--min-confidence", min=0, max=1, help="Give no label below it.")
        ] = 0.0,
        *,
        names: "NameOptions",
        orthologs: Orthologs = True,
        expression: Expression = "auto",
        layer: Layer = None,
        seed: Annotated[int, typer.Option("--seed", help="Of the grouping and the shuffles.")] = 0,
        key_added: Annotated[str, typer.Option("--key-added", help="Base of the AnnData keys.")] = "annotation",
        as_json: console.Json = False,
        quiet: console.Quiet = False,
    ) -> None:
        """Give each cell a type from the types' names or definitions alone: no training, no list of markers."""
        console.require_cells(data, output=output)
        for given, known, what in (
            (method, _METHODS, "--method"),
            (laplacian, _LAPLACIANS, "--laplacian"),
            (expression, _EXPRESSIONS, "--expression"),
        ):
            if given not in known:
                raise typer.BadParameter(f"{what} {given}: choose {', '.join(known)}")
        if not labels.is_file():
            raise typer.BadParameter(f"--labels {labels} is no file")
        from cellmodels.annotation import CellTypes
        from cellmodels.annotation import annotate as run
        from genetext import anndata_io

        types = CellTypes.read(labels)
        with console.progress(quiet=quiet):
            adata = anndata_io.read(data)
            done = run(
                adata,
                types,
                None if logits is not None else (index or [choose(None)]),
                logits=logits,
                ontology=ontology,
                method=method,
                groups=groups,
                rep=rep,
                k=k,
                lam=lam,
                laplacian="normalised" if laplacian == "normalised" else "unnormalised",
                min_confidence=min_confidence,
                expression=expression,
                layer=layer,
                seed=seed,
                key_added=key_added,
                orthologs=orthologs,
                **names.keywords(),
            )
            anndata_io.write(adata, output)
        if as_json:
            genes = {name: done.top(name) for name in types.names}
            summary = {"counts": done.counts, "abstained": done.n_abstained, "rare": list(done.rare), "genes": genes}
            console.emit({"path": str(output), "n_cells": adata.n_obs, **summary, "facts": dict(done.facts)})
            return
        for name, count in done.counts.items():
            genes_of = ", ".join(printable(gene, keep="") for gene in done.top(name, 6)) if count else ""
            spoke = f"  ({genes_of})" if genes_of else ""
            console.note(f"{count:>9,} {name}{spoke}", quiet=quiet)
        without = f"{done.n_abstained:,} without a label, " if done.n_abstained else ""
        console.note(f"{adata.n_obs:,} cells, {without}in obs[{key_added}]", quiet=quiet)
        console.line(output)
