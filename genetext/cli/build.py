"""`genetext build-index`: from a species to a searchable index, in one command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genetext.cli import console
from genetext.cli.fetch import Genes, Offline, Source, Species, gene_list

if TYPE_CHECKING:
    from genetext.build import Built
    from genetext.text.template import Template


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("build-index")
    def build_index(
        species: Species = "human",
        encoder: Annotated[
            str,
            typer.Option(
                "--encoder",
                "-e",
                help="minilm, lexical, biobert, a hub id, a folder, openai:MODEL; or biobert+lexical.",
            ),
        ] = "minilm",
        source: Source = "auto",
        genes: Genes = None,
        gene_types: Annotated[
            str, typer.Option("--gene-types", help="NCBI's types of gene to keep, comma-separated, or all.")
        ] = "protein-coding",
        sections: Annotated[
            str | None,
            typer.Option(
                "--sections",
                help="Sections of a text in their order, with words at most: symbol,name,summary/facts:120; or "
                "beside the default ones: +generif:60,+markers. `genetext sources` lists them.",
            ),
        ] = None,
        texts: Annotated[
            list[str] | None,
            typer.Option(
                "--text", help="Text of your own: FILE[=name], TSV, CSV, Parquet or JSON; or a source's file, FILE=hpa."
            ),
        ] = None,
        ranking: Annotated[
            str | None, typer.Option("--rank", help="Which summary comes first, by voice: RefSeq,OMIM,Alliance.")
        ] = None,
        order: Annotated[
            str, typer.Option("--order", help="Which of several passages come first: newest, central, given.")
        ] = "newest",
        drop: Annotated[
            str, typer.Option("--drop", help="Leave out sentences of some kinds: templates,go,phenotypes.")
        ] = "",
        before: Annotated[str, typer.Option("--before", help="Leave out text dated at or after this: 2024-03.")] = "",
        go_evidence: Annotated[
            str, typer.Option("--go-evidence", help="Evidence that a GO term needs: experimental, or codes: IDA,IMP.")
        ] = "",
        post: Annotated[
            str, typer.Option("--post", help="Post-processing of the vectors: center, abtt:3, whiten, pca:256.")
        ] = "",
        precision: Annotated[
            str, typer.Option("--precision", help="auto, float32, bfloat16, or either, or int8, with /openvino.")
        ] = "auto",
        long_texts: Annotated[
            str | None,
            typer.Option("--long-texts", help="Texts past the encoder's window: truncate, window-mean, error."),
        ] = None,
        device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0,cuda:1.")] = "auto",
        dimensions: Annotated[
            int | None, typer.Option("--dimensions", min=1, help="Shortened vectors, of OpenAI's v3 models.")
        ] = None,
        name: Annotated[str | None, typer.Option("--name", help="Name of the index. Default: the encoder's.")] = None,
        snapshot: Annotated[
            str | None, typer.Option("--snapshot", help="Fetch nothing; use this snapshot: its folder, or digest.")
        ] = None,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the index to this folder.")] = None,
        offline: Offline = False,
        yes: console.Yes = False,
        max_cost: console.MaxCost = None,
        batch_api: Annotated[
            bool,
            typer.Option("--batch-api", help="Paid encoders through the batch service: half the price, up to a day."),
        ] = False,
        as_json: console.Json = False,
        quiet: console.Quiet = False,
    ) -> None:
        """Fetch what NCBI says about the genes of a species, encode it, and leave a FAISS index that answers questions.

        What was fetched, parsed or encoded before is not done again; a build that was stopped goes on where it was.
        """
        from genetext.build import BuildOptions, build
        from genetext.errors import EncoderError, MissingWeights
        from genetext.vectors import without_hub

        choices: dict[str, Any] = {
            "encoder": encoder,
            "post": post,
            "precision": precision,
            "long_texts": long_texts,
            "dimensions": dimensions,
        }
        try:
            with without_hub(offline):
                BuildOptions(**choices).embedding(device=device)
        except MissingWeights:
            raise
        except EncoderError as error:
            raise typer.BadParameter(str(error)) from error
        template = _template(
            sections=sections, ranking=ranking, drop=drop, go_evidence=go_evidence, order=order, before=before
        )
        with console.progress(quiet=quiet) as progress:
            built = build(
                species,
                **choices,
                source=source,
                genes=gene_list(genes),
                gene_types=None if gene_types == "all" else tuple(gene_types.split(",")),
                template=template,
                texts=texts or (),
                name=name,
                snapshot=snapshot,
                output=output,
                offline=offline,
                progress=progress,
                confirm=console.confirm_cost(yes=yes),
                max_cost=max_cost,
                batch_api=batch_api,
                device=device,
            )
        if as_json:
            console.emit(_facts(built))
        else:
            console.note(report(built), quiet=quiet)
            console.line(built.index.path)


def report(built: "Built") -> str:
    """Say in a few lines what a build did to the genes."""
    index, did = built.index, built.report
    cover = did.coverage
    rest = cover["genes"]
    lines = [f"{index.species.name}: {rest:,} genes"]
    for kind, words in (
        ("summary", "with a summary of their own"),
        ("ortholog", "with the text of their human ortholog"),
        ("facts", "with facts only (GO terms, gene families)"),
        ("other", "with the text of other sources first"),
        ("name", "with a name only"),
        ("none", "without any text: in the table, not in the index"),
    ):
        if cover.get(kind):
            borrowed = int((index.genes["source"] == "ortholog-facts").sum()) if kind == "facts" else 0
            words += f"; {borrowed:,} of them those of the human ortholog" if borrowed else ""
            lines.append(f"  {cover[kind]:>7,}  {cover[kind] / max(rest, 1):6.1%}  {words}")
    lines += [console.of_layer(layer) for layer in did.layers]
    for name, use in did.sections.items():
        if use["words_cut"]:
            lines.append(f"{name}: cut to its budget in {use['genes_cut']:,} texts, by {use['words_cut']:,} words")
    if did.unchanged:
        lines.append(f"unchanged: {index.path} was built from exactly this input")
    else:
        known = did.n_texts - did.n_encoded
        lines.append(f"{did.n_texts:,} distinct texts: {did.n_encoded:,} encoded, {max(known, 0):,} known before")
        for number, words in ((did.n_truncated, "truncated"), (did.n_windowed, "averaged over windows")):
            if number:
                lines.append(f"{number:,} texts longer than the encoder's window: {words}")
    if did.padding:
        lines.append(f"{did.padding:.1%} of what went through the transformer was padding")
    lines.append(f"{len(index):,} vectors of dimension {index.dim} by {index.embedding_spec}")
    lines.append(f"{sum(did.seconds.values()):.1f} s ({', '.join(f'{k} {v:.1f}' for k, v in did.seconds.items())})")
    return "\n".join(lines)


def _facts(built: "Built") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "path": str(built.index.path),
        "fingerprint": built.index.fingerprint,
        "n_vectors": len(built.index),
        "dim": built.index.dim,
        **asdict(built.report),
    }


def _template(*, order: str, before: str, **lists: str | None) -> "Template":
    """Return the template of the options given; lists are comma-separated."""
    from genetext.text.template import Template

    given: dict[str, Any] = {name: tuple(text.split(",")) for name, text in lists.items() if text}
    return Template(order=order, before=before, **given)
