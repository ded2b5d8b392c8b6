"""`genetext bench`: whether the text helps, with controls."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genetext.cli import console
from genetext.cli.search import choose

if TYPE_CHECKING:
    from genetext.bench.report import Benchmark, Report


def _jobs(jobs: int) -> int:
    if jobs == 0 or jobs < -1:
        raise typer.BadParameter(f"--jobs {jobs}: a number of processes, or -1 for one per core")
    return jobs


def _figure(path: Path | None) -> Path | None:
    if path is not None:
        from genetext.bench.figure import require

        require(path)
    return path


Jobs = Annotated[int, typer.Option("--jobs", "-j", callback=_jobs, help="Processes; -1: one per core.")]
Tsv = Annotated[Path | None, typer.Option("--tsv", help="Write every score to this file.")]
Figure = Annotated[Path | None, typer.Option("--figure", callback=_figure, help="Draw the result: .png, .pdf, .svg.")]

# Other benchmarks add their commands to it, each from a module of its own.
group = typer.Typer(
    help="Measure whether gene text helps, beside controls.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add the group of commands to the application, and `genes` to the group."""
    app.add_typer(group, name="bench")

    @group.callback()
    def _group() -> None:
        """Measure whether gene text helps, beside controls."""

    @group.command()
    def genes(
        tasks: Annotated[
            Path,
            typer.Argument(
                exists=True, dir_okay=False, help="A GMT, a table (term, gene), or (term, split, gene, result); or .gz."
            ),
        ],
        index: Annotated[
            list[str] | None,
            typer.Option(
                "--index",
                "-i",
                help="What to measure, again for each: human/minilm, human/minilm@abtt:3, "
                "human/minilm++human/lexical*0.5, esm2.parquet. Default: the newest index.",
            ),
        ] = None,
        kind: Annotated[
            str, typer.Option("--kind", help="What is asked: terms, or a kind that another package adds.")
        ] = "terms",
        species: Annotated[
            str | None, typer.Option("--species", "-s", help="Whose genes the file names. Default: the index's.")
        ] = None,
        every: Annotated[int, typer.Option("--every", min=1, help="Take every n-th term, by name.")] = 1,
        term: Annotated[list[str] | None, typer.Option("--term", help="Take this term; again for each.")] = None,
        min_genes: Annotated[int, typer.Option("--min-genes", min=2, help="Leave smaller terms out.")] = 15,
        max_genes: Annotated[int, typer.Option("--max-genes", min=0, help="Leave larger terms out; 0: none.")] = 500,
        negatives: Annotated[
            int, typer.Option("--negatives", min=0, help="At most so many other genes of the file per term; 0: all.")
        ] = 1000,
        folds: Annotated[int, typer.Option("--folds", min=2, help="Stratified folds, where none are given.")] = 5,
        repeats: Annotated[int, typer.Option("--repeats", min=1, help="Draw these folds so many times.")] = 1,
        missing: Annotated[
            str, typer.Option("--missing", help="Genes that a method lacks: drop (for all methods), or mean.")
        ] = "drop",
        reencode: Annotated[
            bool,
            typer.Option(
                "--reencode", help="Also the indices' own encoders on texts without GO facts, template sentences."
            ),
        ] = False,
        control_seeds: Annotated[
            int, typer.Option("--control-seeds", min=1, help="Draws of permuted and of random vectors.")
        ] = 3,
        seed: Annotated[int, typer.Option("--seed", min=0, help="Of folds, draws, negatives and intervals.")] = 0,
        yes: console.Yes = False,
        max_cost: console.MaxCost = None,
        jobs: Jobs = -1,
        as_json: console.Json = False,
        tsv: Tsv = None,
        figure: Figure = None,
        quiet: console.Quiet = False,
    ) -> None:
        """Tell genes of a term from others by their vectors; show means, spreads, tests, and every control.

        Controls are always there: permuted and random vectors, the texts' length, names only, TF-IDF, and TF-IDF
        without what was derived from Gene Ontology or written by a program.
        """
        if missing not in ("drop", "mean"):
            raise typer.BadParameter(f"--missing {missing}: drop or mean")
        from genetext.bench.methods import parse

        for name in index or []:
            parse(name)
        from genetext.bench.classify import Protocol
        from genetext.bench.controls import ControlOptions
        from genetext.bench.figure import draw
        from genetext.bench.genes import bench_genes
        from genetext.bench.tasks import Selection
        from genetext.encoding.paid import Payment

        with console.progress(quiet=quiet) as progress:
            benchmark = bench_genes(
                tasks,
                index or [choose(None)],
                kind=kind,
                species=species,
                selection=Selection(
                    terms=None if term is None else tuple(term),
                    every=every,
                    min_genes=min_genes,
                    max_genes=max_genes,
                    negatives=negatives,
                    seed=seed,
                ),
                protocol=Protocol(folds=folds, repeats=repeats, seed=seed, missing=missing),  # type: ignore[arg-type]
                control=ControlOptions(
                    draws=control_seeds,
                    seed=seed,
                    reencode=reencode,
                    payment=Payment(confirm=console.confirm_cost(yes=yes), max_cost=max_cost),
                ),
                jobs=jobs,
                progress=progress,
            )
        write(benchmark, tsv, figure, draw)
        _show(benchmark, as_json=as_json, quiet=quiet)


def write(benchmark: "Report", tsv: Path | None, figure: Path | None, draw: Callable[[Any, Path], None]) -> None:
    """Write the files that were asked for."""
    from genetext import disk

    if tsv is not None:
        with disk.atomic_file(tsv) as handle:
            handle.write(benchmark.to_tsv().encode())
    if figure is not None:
        draw(benchmark, figure)


def _show(benchmark: "Benchmark", *, as_json: bool, quiet: bool) -> None:
    if as_json:
        console.emit(benchmark.to_json())
        return
    console.note(benchmark, quiet=quiet)
    console.table(
        benchmark.table,
        {
            "method": str,
            "dim": str,
            **dict.fromkeys(("auroc", "sd", "low", "high", "fold_auroc"), console.number),
            "difference": partial(console.number, form="+.3f"),
            "p": partial(console.number, form=".2g"),
            "n_without": "{:,}".format,
            "note": str,
        },
    )
