"""Build an index of what is written about genes, ask it, and draw where the answers lie.

    python examples/build_and_search.py
    python examples/build_and_search.py --encoder minilm "melanopsin photopigment" "response to interferon"
    python examples/build_and_search.py --species mouse --source ncbi --figure map.png

By default it needs no network and no weights: the facts that genetext ships with, and the lexical encoder.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE

from genetext import GeneIndex, build_index
from genetext.bench.figure import save
from genetext.escape import plot_text, printable
from genetext.priors import GenePriors

QUESTIONS = [
    "visual perception by photoreceptors",
    "antiviral response to type I interferon",
    "synthesis and secretion of insulin",
    "contraction of cardiac muscle",
    "voltage-gated potassium channel",
]


def ask(index: GeneIndex, questions: list[str], *, k: int) -> dict[str, list[str]]:
    """Print the `k` nearest genes of each question; return their symbols."""
    answers = {}
    for question in questions:
        genes = index.search(question, k)
        answers[question] = genes["symbol"].tolist()
        print(f"\n{question}")
        for gene in genes.head(5).itertuples():
            print(printable(f"  {gene.score:6.3f}  {gene.symbol:<10} {gene.name}"))
    return answers


def draw(index: GeneIndex, answers: dict[str, list[str]], path: Path, *, background: int, seed: int = 0) -> None:
    """Draw the answers among genes drawn at random, in two dimensions (t-SNE of the vectors, cosine)."""
    from matplotlib.figure import Figure

    priors = GenePriors.open(index).center().unit()
    row = {name: at for at, name in enumerate(priors.names)}
    chosen = [row[name] for names in answers.values() for name in names]
    others = np.random.default_rng(seed).choice(len(priors), min(background, len(priors)), replace=False)
    rows = np.unique([*chosen, *others])
    flat = TSNE(metric="cosine", init="random", perplexity=20, random_state=seed).fit_transform(priors.vectors[rows])
    place = dict(zip(rows.tolist(), flat, strict=True))
    axes = (figure := Figure(figsize=(7, 5), layout="constrained")).subplots()
    axes.scatter(*flat.T, s=3, color="0.8", linewidths=0)
    for question, names in answers.items():
        points = np.array([place[row[name]] for name in names])
        axes.scatter(*points.T, s=14, label=plot_text(question))
        axes.annotate(plot_text(names[0]), points[0], textcoords="offset points", xytext=(4, 4), fontsize=8)
    axes.set_title(
        plot_text(f"{index.path.parent.name}/{index.path.name}: the answers among {len(others):,} genes"), fontsize=10
    )
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.25), ncols=2, frameon=False)
    axes.set_axis_off()
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("questions", nargs="*", default=QUESTIONS)
    parser.add_argument("--species", default="human")
    parser.add_argument("--encoder", default="lexical", help="lexical, minilm, biobert ...")
    parser.add_argument("--source", default="facts", help="facts, ncbi, a mirror's URL, or a folder in NCBI's layout")
    parser.add_argument("-k", type=int, default=15, help="answers to a question")
    parser.add_argument("--background", type=int, default=2000, help="other genes in the figure")
    parser.add_argument("--figure", type=Path, help="write a map of the answers here (needs matplotlib)")
    options = parser.parse_args()

    index = build_index(options.species, encoder=options.encoder, source=options.source)
    print(printable(str(index)))
    answers = ask(index, options.questions, k=options.k)
    if options.figure:
        draw(index, answers, options.figure, background=options.background)


if __name__ == "__main__":
    main()
