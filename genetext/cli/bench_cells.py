"""`genetext bench cells`: whether gene text helps to group and to label somebody's own cells."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genetext.cli import console
from genetext.cli.bench import Figure, Jobs, Tsv, write
from genetext.cli.match import Post
from genetext.cli.names import Orthologs, takes_names

if TYPE_CHECKING:
    from cellmodels.eval.bench.report import CellsBenchmark
    from genetext.names import NameOptions

_QUICK: dict[str, Any] = {"seeds": 3, "permutations": 3, "m": (1, 5, 20), "max_cells": 1000}
_FULL: dict[str, Any] = {"seeds": 5, "permutations": 10, "m": (1, 2, 5, 10, 20, 50), "max_cells": None}


def register(app: typer.Typer) -> None:
    """Add the command to the group `bench`."""

    @app.command("cells")
    @takes_names
    def cells(
        data: Annotated[Path, typer.Argument(help=".h5ad with labelled cells.")],
        labels: Annotated[str, typer.Option("--labels", "-l", help="The column of obs with the types of the cells.")],
        priors: Annotated[
            str | None, typer.Option("--priors", "-p", help="human/minilm, or a folder. Default: models without one.")
        ] = None,
        models: Annotated[
            str, typer.Option("--models", help="contrastive, topic, refinement, contrastive-labels; commas between.")
        ] = "contrastive,topic,refinement",
        groups: Annotated[
            str | None,
            typer.Option("--groups", "-g", help="A column of obs (donor, batch): each is held out in turn."),
        ] = None,
        m: Annotated[
            str | None, typer.Option("--m", help="Cells of each type to learn from. Default: 1,2,5,10,20,50.")
        ] = None,
        seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Repeats. Default: 5.")] = None,
        permutations: Annotated[
            int | None,
            typer.Option("--permutations", min=1, help="Draws of permuted priors, over all seeds. Default: 10."),
        ] = None,
        found_clusters: Annotated[
            bool | None,
            typer.Option("--found-clusters/--no-found-clusters", help="Also group without being told the number."),
        ] = None,
        max_cells: Annotated[
            int | None, typer.Option("--max-cells", min=2, help="Take so many cells, drawn once. Default: all.")
        ] = None,
        quick: Annotated[
            bool,
            typer.Option("--quick", help="Small models, few epochs; 3 seeds, 3 permutations, 1,000 cells, --m 1,5,20."),
        ] = False,
        setting: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="MODEL.NAME=VALUE", help="A hyper-parameter of a model; again for each."),
        ] = None,
        *,
        names: "NameOptions",
        orthologs: Orthologs = True,
        post: Post = "",
        device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, mps.")] = "cpu",
        jobs: Jobs = -1,
        as_json: console.Json = False,
        tsv: Tsv = None,
        figure: Figure = None,
        quiet: console.Quiet = False,
    ) -> None:
        """Group cells, and label them from a few of each type, with gene text and with every control.

        Compared are expression alone, averaged gene vectors alone, and each model with the prior, permuted priors, a
        random prior and none. The verdict claims a benefit only where the prior is better than none and than permuted
        ones, beyond chance. What was scored is kept: a run that was stopped goes on.
        """
        console.require_cells(data)
        console.require_apart(data, tsv, figure)
        if post and priors is None:
            raise typer.BadParameter("--post changes a prior: name it with --priors")
        default = _QUICK if quick else _FULL
        numbers = default["m"] if m is None else _numbers(m)
        chosen = [name for part in models.split(",") if (name := part.strip())]
        settings = _settings(chosen, setting or [])
        from cellmodels.eval.bench import Known, Protocol, bench_cells
        from cellmodels.eval.bench.figure import draw
        from genetext import anndata_io
        from genetext.priors import GenePriors

        protocol = Protocol(
            m=numbers,
            seeds=seeds or default["seeds"],
            permutations=permutations or default["permutations"],
            max_cells=default["max_cells"] if max_cells is None else max_cells,
            found_clusters=not quick if found_clusters is None else found_clusters,
        )
        with console.progress(quiet=quiet) as progress:
            opened = None
            if priors is not None:
                opened = GenePriors.open(priors)
                opened = opened.transform(post) if post else opened
            benchmark = bench_cells(
                anndata_io.read(data),
                labels,
                priors=opened,
                models=[Known(name, settings.get(name, {}), quick) for name in chosen],
                groups=groups,
                protocol=protocol,
                device=device,
                jobs=jobs,
                progress=progress,
                name=data.name,
                orthologs=orthologs,
                **names.keywords(),
            )
        write(benchmark, tsv, figure, draw)
        _show(benchmark, as_json=as_json, quiet=quiet)


def _show(benchmark: "CellsBenchmark", *, as_json: bool, quiet: bool) -> None:
    if as_json:
        console.emit(benchmark.to_json())
        return
    words = dict.fromkeys(("method", "control", "measure", "at"), str)
    console.table(benchmark.table, {**words, **dict.fromkeys(("mean", "sd", "low", "high"), console.number)})
    console.note(benchmark, quiet=quiet)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--m {text}: whole numbers with commas between, for example 1,5,20") from None


def _settings(models: list[str], pairs: list[str]) -> dict[str, dict[str, Any]]:
    """Read `topic.n_topics=20`; what a model does not have is wrong usage."""
    from cellmodels.eval.bench.embeddings import Known, model_names
    from cellmodels.train.config import parse
    from genetext.errors import ModelError

    unknown = [name for name in models if name not in model_names()]
    if unknown or not models:
        raise typer.BadParameter(f"--models {','.join(unknown)}: choose {', '.join(model_names())}")
    given: dict[str, list[str]] = {}
    for pair in pairs:
        model, dot, rest = pair.partition(".")
        if not dot or model not in models:
            raise typer.BadParameter(f"--set {pair}: MODEL.NAME=VALUE, with a model of {', '.join(models)}")
        given.setdefault(model, []).append(rest)
    settings = {}
    for model, assignments in given.items():
        kind = Known(model).entry.load()
        try:
            settings[model] = parse(kind.Config, assignments)
            kind(**settings[model])
        except ModelError as error:
            raise typer.BadParameter(f"--set {model}: {error}") from error
    return settings
