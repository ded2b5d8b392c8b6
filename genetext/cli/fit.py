"""`genetext fit` and `genetext apply`: models of cells, fitted to a file, and used on another."""

import inspect
import os
import shutil
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from genetext import locks
from genetext.cli import console
from genetext.cli.match import Layer, Post, parse_control
from genetext.cli.names import Orthologs, takes_names

if TYPE_CHECKING:
    from cellmodels.base import CellModel
    from cellmodels.registry import ModelEntry
    from genetext.names import NameOptions

_SELECTIONS = ("last", "loss", "oracle")

Data = Annotated[Path | None, typer.Argument(help=".h5ad; it is not changed.", show_default=False)]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="What to write: .h5ad.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(
        cls=_Models,
        help="Fit a model of cells, with gene text as a prior or without.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.add_typer(group, name="fit")

    @group.callback()
    def _group() -> None:
        """Fit a model of cells, with gene text as a prior or without."""

    @app.command("apply")
    def apply(
        model: Annotated[Path, typer.Argument(help="The folder of a model that `fit` wrote.")],
        data: Annotated[Path, typer.Argument(help=".h5ad; it is not changed.")],
        output: Annotated[Path, typer.Option("--output", "-o", help="What to write: .h5ad.")],
        layer: Layer = None,
        min_covered: Annotated[
            float,
            typer.Option("--min-covered", min=0, max=1, help="Share of the model's genes that the data must have."),
        ] = 1.0,
        min_confidence: Annotated[
            float, typer.Option("--min-confidence", min=0, max=1, help="Give no label below it (contrastive).")
        ] = 0.0,
        key_added: Annotated[
            str | None, typer.Option("--key-added", help="Name of the AnnData keys. Default: the model's.")
        ] = None,
        device: Annotated[str, typer.Option("--device", help="cpu, cuda, mps.")] = "cpu",
        as_json: console.Json = False,
        quiet: console.Quiet = False,
    ) -> None:
        """Embed cells with a model that was fitted on others; label them, where it has learned labels."""
        console.require_cells(data, output=output)
        if not model.is_dir():
            raise typer.BadParameter(f"model {model} is no folder")
        if min_covered == 0:
            raise typer.BadParameter("--min-covered 0: give a share above 0")
        from cellmodels import load_model
        from genetext import anndata_io
        from genetext.keys import Keys

        with console.progress(quiet=quiet), ExitStack() as stack:
            fitted = load_model(model)
            adata = anndata_io.read(data)
            assert fitted.genes is not None
            coverage = fitted.genes.find(adata, min_covered=min_covered)
            name = key_added or fitted.name
            stack.enter_context(_sole_writer(output))
            labels = fitted.to_anndata(
                adata,
                key_added=name,
                layer=layer,
                min_covered=min_covered,
                min_confidence=min_confidence,
                device=device,
            )
            facts = {"applied": True, "n_genes_found": int((coverage.columns >= 0).sum())}
            Keys().record(adata, name, {**fitted.summary(), **facts})
            anndata_io.write(adata, output)
        counts = {} if labels is None else labels["label"].value_counts().to_dict()
        n_without = 0 if labels is None else int(labels["label"].isna().sum())
        if as_json:
            genes = {"share": coverage.share, "by": coverage.by, "missing": coverage.missing}
            labelled = {} if labels is None else {"labels": counts, "n_without": n_without}
            console.emit(
                {"path": str(output), "n_cells": adata.n_obs, "model": fitted.summary(), "genes": genes, **labelled}
            )
            return
        console.note(str(coverage), quiet=quiet)
        for label, count in counts.items():
            console.note(f"{count:>9,} {label}", quiet=quiet)
        if n_without:
            console.note(f"{n_without:,} cells without a label", quiet=quiet)
        console.note(f"{adata.n_obs:,} cells in obsm[X_{name}]", quiet=quiet)
        console.line(output)


class _Models(TyperGroup):
    """One command per model; models of other distributions are looked for when somebody asks, and once."""

    _known: dict[str, Any] | None = None

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """The commands by the names of the models."""
        if self._known is None:
            from cellmodels import registry

            self._known = {name: _command(entry) for name, entry in registry.models().items()}
        return self._known

    @commands.setter
    def commands(self, _: Any) -> None:
        """Take no notice of the commands that Typer knows of: it knows none."""


def _command(entry: "ModelEntry") -> Any:
    app = typer.Typer(add_completion=False)
    app.command(entry.name, help=entry.summary)(_fit_command(entry))
    return typer.main.get_command(app)


def _fit_command(entry: "ModelEntry") -> Callable[..., None]:
    """Return the function of a command: the options below, and those of the model."""
    name = entry.name

    @takes_names
    def command(
        data: Data = None,
        output: Output = None,
        priors: Annotated[
            str | None, typer.Option("--priors", "-p", help="human/minilm, or a folder. Default: no prior.")
        ] = None,
        model: Annotated[
            Path | None, typer.Option("--model", help=f"Where to save the model. Default: OUTPUT, as .{name}.")
        ] = None,
        clusters: Annotated[
            int | None, typer.Option("--clusters", "-k", min=1, help="How many. Default: told by their stability.")
        ] = None,
        *,
        names: "NameOptions",
        orthologs: Orthologs = True,
        layer: Layer = None,
        post: Post = "",
        control: Annotated[
            str | None,
            typer.Option("--control", help="Use a control instead of the prior: permuted:SEED, random:SEED or none."),
        ] = None,
        preset: Annotated[
            str | None, typer.Option("--preset", help="Hyper-parameters by name; see --show-config.")
        ] = None,
        epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the cells.")] = None,
        n_genes: Annotated[
            int | None, typer.Option("--n-genes", min=1, help="Genes to model: those that vary most.")
        ] = None,
        batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Cells in a mini-batch.")] = None,
        setting: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="NAME=VALUE", help="Any other hyper-parameter; again for each."),
        ] = None,
        seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
        selection: Annotated[
            str | None,
            typer.Option("--selection", help="Epoch that is kept: last, loss (lowest), or oracle (--oracle-labels)."),
        ] = None,
        oracle_labels: Annotated[
            str | None,
            typer.Option("--oracle-labels", help="True labels, a column of obs: only to compare with papers."),
        ] = None,
        device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, mps.")] = "auto",
        devices: Annotated[int, typer.Option("--devices", min=1, help="Processes that train together.")] = 1,
        strategy: Annotated[str, typer.Option("--strategy", help="How: auto, ddp.")] = "auto",
        precision: Annotated[str, typer.Option("--precision", help="32-true, bf16-mixed, 16-mixed.")] = "32-true",
        checkpoints: Annotated[
            Path | None,
            typer.Option(
                "--checkpoints",
                help="Keep the run's state there, and go on from it. Default: beside OUTPUT, until done.",
            ),
        ] = None,
        show_config: Annotated[
            bool, typer.Option("--show-config", help="Print the hyper-parameters and presets, and exit.")
        ] = False,
        as_json: console.Json = False,
        quiet: console.Quiet = False,
        **options: str | None,
    ) -> None:
        if show_config:
            _show_config(entry, as_json=as_json)
            return
        if data is None or output is None:
            raise typer.BadParameter("give the data (.h5ad) and --output (.h5ad), or --show-config")
        console.require_cells(data, output=output)
        if selection not in (None, *_SELECTIONS):
            raise typer.BadParameter(f"--selection {selection}: choose {', '.join(_SELECTIONS)}")
        if (selection == "oracle") != (oracle_labels is not None):
            raise typer.BadParameter("--selection oracle and --oracle-labels COLUMN go together")
        without = control == "none"
        seeded = None if without else parse_control(control)
        if priors is None and (control is not None or post):
            raise typer.BadParameter("--control and --post change a prior: name it with --priors")
        given = {"epochs": epochs, "n_genes": n_genes, "batch_size": batch_size, "selection": selection}
        given = {key: value for key, value in given.items() if value is not None}
        fitted = _make(entry, preset, given, setting or [], seed)
        from cellmodels import Trainer

        trainer = Trainer(device=device, devices=devices, strategy=strategy, precision=precision)
        state = checkpoints or output.with_name(f"{output.stem}.{name}.checkpoint")
        folder = model or output.with_name(f"{output.stem}.{name}")
        nullable = {option.name for option in entry.options if option.nullable}
        of_model = {key: value for key, value in options.items() if value is not None}
        if empty := [f"--{key.replace('_', '-')}" for key, value in of_model.items() if not value.strip()]:
            raise typer.BadParameter(f"{', '.join(empty)}: give a value, or leave it out")
        extra = {key: None if value == "none" and key in nullable else value for key, value in of_model.items()}
        _check_places(data, output, folder, state)
        trainer.check()
        from genetext import anndata_io
        from genetext.errors import ModelError
        from genetext.keys import Keys

        with console.progress(quiet=quiet) as progress, ExitStack() as stack:
            adata = anndata_io.read(data)
            if clusters is not None and clusters > adata.n_obs:
                raise ModelError(f"--clusters {clusters:,} for {adata.n_obs:,} cells: ask for as many as cells at most")
            prior = None
            if priors is not None:
                prior = _priors(priors, post, seeded).align(adata, orthologs=orthologs, **names.keywords())
                prior = prior.without() if without else prior
            stack.enter_context(_sole_writer(output, folder, state))
            with _going_on(state):
                fitted.fit(
                    adata,
                    prior,
                    layer=layer,
                    trainer=trainer,
                    checkpoints=state,
                    oracle=oracle_labels,
                    progress=progress,
                    **extra,
                )
            if not fitted.is_main:
                return
            fitted.save(folder)
            fitted.to_anndata(adata, layer=layer)
            groups = _cluster(fitted, adata, clusters, seed=seed)
            anndata_io.write(adata, output)
            if checkpoints is None:
                shutil.rmtree(state, ignore_errors=True)
        facts = Keys().recorded(adata, name)
        if as_json:
            report = prior.report.to_json() if prior is not None and prior.report is not None else None
            places = {"path": str(output), "model": str(folder)}
            console.emit({**places, "n_cells": adata.n_obs, "clusters": groups, "facts": facts, "genes": report})
            return
        if prior is not None and prior.report is not None:
            console.note(str(prior.report), quiet=quiet)
        losses = ", ".join(f"{key} {value:.4g}" for key, value in facts["losses"].items() if key != "epoch")
        console.note(f"epoch {facts['epoch']} kept ({facts['selection']}); last: {losses}", quiet=quiet)
        chosen_by = f"stability {groups['stability']:.2f}" if groups["stability"] is not None else str(groups["method"])
        console.note(
            f"{adata.n_obs:,} cells in obsm[X_{name}], {groups['n_clusters']} clusters ({chosen_by}) in "
            f"obs[{name}_cluster], the model in {folder}",
            quiet=quiet,
        )
        console.line(output)

    signature = inspect.signature(command)
    shared = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    for option in entry.options:
        spelt = [f"--{option.name.replace('_', '-')}", *([option.short] if option.short else [])]
        hint = Annotated[str | None, typer.Option(*spelt, help=option.help)]
        shared.append(inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint))
        command.__annotations__[option.name] = hint
    command.__signature__ = signature.replace(parameters=shared)  # type: ignore[attr-defined]
    return command


@contextmanager
def _sole_writer(*paths: Path) -> Iterator[None]:
    """Refuse to write where another process is writing; of processes that train together, one writes."""
    with ExitStack() as stack:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            for path in sorted({path.resolve() for path in paths}):
                stack.enter_context(locks.sole_writer(path))
        yield


def _check_places(data: Path, output: Path, folder: Path, checkpoints: Path) -> None:
    """Refuse places that are one, or where something else stands, before any work."""
    from cellmodels import storage
    from cellmodels.train import checkpoint

    places = {"the input": data, "--output": output, "--model": folder, "--checkpoints": checkpoints}
    by_place: dict[Path, list[str]] = {}
    for name, path in places.items():
        by_place.setdefault(path.resolve(), []).append(name)
    for path, names in by_place.items():
        if len(names) > 1:
            raise typer.BadParameter(f"{' and '.join(names)} are both {path}: name a place for each")
    storage.check_place(folder)
    checkpoint.check_place(checkpoints)


def _make(
    entry: "ModelEntry", preset: str | None, given: dict[str, Any], pairs: list[str], seed: int
) -> "CellModel[Any, Any]":
    """Return the model, not fitted; what its hyper-parameters cannot be is wrong usage."""
    from cellmodels.train.config import parse
    from genetext.errors import ModelError

    model = entry.load()
    try:
        named = parse(model.Config, pairs)
        twice = sorted(set(named) & {*given, "seed"})
        if twice:
            raise ModelError(f"{', '.join(twice)} has an option of its own: give it once")
        changes = {**given, **named, "seed": seed}
        return model(**changes) if preset is None else model.preset(preset, **changes)
    except ModelError as error:
        raise typer.BadParameter(str(error)) from error


def _show_config(entry: "ModelEntry", *, as_json: bool) -> None:
    from dataclasses import asdict

    from cellmodels.train.config import listing

    model = entry.load()
    if as_json:
        presets = {preset: dict(values) for preset, values in model.presets.items()}
        console.emit({"default": asdict(model.Config()), "presets": presets})
        return
    frame = listing(model.Config, model.presets)
    console.table(frame, dict.fromkeys(frame.columns, str))


def _priors(name: str, post: str, seeded: tuple[str, int] | None) -> Any:
    from genetext.priors import GenePriors

    priors = GenePriors.open(name)
    priors = priors.transform(post) if post else priors
    return priors if seeded is None else getattr(priors, seeded[0])(seeded[1])


def _cluster(model: "CellModel[Any, Any]", adata: Any, n_clusters: int | None, *, seed: int) -> dict[str, Any]:
    import pandas as pd

    from cellmodels.groups.clusters import cluster
    from genetext.keys import Keys

    # The stability of clusters is told on four fifths of the cells, each of which needs neighbours among them.
    k = max(1, min(15, adata.n_obs * 4 // 5 - 1))
    groups = cluster(adata.obsm[Keys.model(model.name)], n_clusters, seed=seed, k=k)
    adata.obs[f"{model.name}_cluster"] = pd.Categorical([str(label) for label in groups.labels])
    facts = {key: "none" if value is None else value for key, value in groups.facts.items()}
    facts["estimated"] = n_clusters is None
    Keys().record(adata, model.name, {**Keys().recorded(adata, model.name), "clusters": facts})
    return {**groups.facts, "estimated": n_clusters is None}


@contextmanager
def _going_on(checkpoints: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if checkpoints.exists():
            console.note(f"The epochs up to the last checkpoint are in {checkpoints}.")
        raise
