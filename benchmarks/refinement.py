"""RefinementModel on labelled cells: accuracy without labels, controls of the text, speed and memory beside scRCL.

Labels serve the scores alone, and the number of clusters in the columns that say `true K`; every model keeps its last
epoch. `--authors` is a checkout of the authors' repository (github.com/THPengL/scRCL), whose network, losses and
filters are then run on the same cells; it needs torch_geometric. One JSON line per fit goes to standard output.

    python benchmarks/refinement.py accuracy DATA_DIR --rows pca ours paper authors --authors scRCL --seeds 3
    python benchmarks/refinement.py agree DATA_DIR --authors scRCL
    python benchmarks/refinement.py speed DATA_DIR --authors scRCL
    python benchmarks/refinement.py scale --cells 100000
"""

import argparse
import contextlib
import json
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse

from cellmodels import RefinementModel, Trainer
from cellmodels.data.inputs import read_cells
from cellmodels.eval import metrics
from cellmodels.groups.clusters import cluster
from cellmodels.groups.pca import principal_components
from cellmodels.groups.variable_genes import variable_genes
from cellmodels.nn.sparse_product import SparseMatrix
from cellmodels.refinement.gene_graphs import expression_graph, filtered, smoother
from cellmodels.refinement.losses import CellLinks
from cellmodels.refinement.network import RefinementNet
from cellmodels.refinement.training_cells import graph_points, neighbour_graph
from genetext.priors import GenePriors

FILES = {
    "zeisel": "zeisel2018_mousebrain_3types_1099",
    "retina": "human_retina_multiome_1000",
    "kang": "kang_pbmc_ifnb_labelled",
    "baron": "baron_human1_pancreas",
    "pbmc3k": "pbmc3k_counts_labelled",
    "paul15": "paul15_mouse_myeloid",
}
# The authors' files: what they give for a data set of theirs, else their default.
AUTHORS: dict[str, dict[str, Any]] = {
    "default": {"lr": 1e-4, "tms": (0, 0), "dropout": 0.3, "wd": 0.1, "hvg": 2000, "l1": 100.0, "l2": 1.0, "t": 0.1},
    "baron": {"lr": 5e-5, "tms": (5, 0), "dropout": 0.3, "wd": 0.1, "hvg": 2000, "l1": 0.01, "l2": 0.1, "t": 0.1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["agree", "accuracy", "controls", "speed", "new", "scale"])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--datasets", nargs="+", default=list(FILES))
    parser.add_argument("--index", default="human/minilm")
    parser.add_argument("--authors", type=Path)
    parser.add_argument("--rows", nargs="+", default=["pca", "ours"], choices=["pca", "ours", "paper", "authors"])
    parser.add_argument("--precision", default="32-true", help="of our models in `accuracy`")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--authors-epochs", type=int, default=500)
    parser.add_argument("--epochs", type=int, help="of our model; default: its own")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--permutations", type=int, default=10)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--estimate", action="store_true", help="also the clusters that stability tells (slow)")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.threads:
        torch.set_num_threads(args.threads)
    if "authors" in args.rows and not args.authors:
        parser.error("--rows authors needs --authors, a checkout of their repository")
    if args.what == "scale":
        scale(args)
        return
    work = {"agree": agree, "accuracy": accuracy, "controls": controls, "speed": speed, "new": new_cells}[args.what]
    for name in args.datasets:
        adata = anndata.read_h5ad(args.data / f"{FILES[name]}.h5ad")
        adata.var_names_make_unique()
        work(name, adata, adata.obs["cell_type"].astype(str).to_numpy(), args)


# -- what is measured ---------------------------------------------------------------------------------------------


def agree(name: str, adata: Any, labels: NDArray[Any], args: argparse.Namespace) -> None:
    """Take the authors' initial weights into our network, and compare losses and gradients on the same cells."""
    run = authors(args.authors, name, adata, len(set(labels)), 0)
    reference_model = run.model
    reference_model.eval()
    terms = run.losses()
    terms["loss"].backward()
    config, smooth = run.config, run.smooth
    net = RefinementNet(
        reference_model.in_dim,
        reference_model.hid_dim,
        reference_model.out_dim,
        reference_model.gene_dim,
        dropout=config["dropout"],
        temperature=config["t"],
        alignment_weight=config["l1"],
        consistency_weight=config["l2"],
    ).eval()
    encoder = reference_model.GNN_encoder
    pairs = [
        (net.mlp.weight, reference_model.MLP_encoder.layer1.weight, False),
        (net.mlp.bias, reference_model.MLP_encoder.layer1.bias, False),
        (net.first.weight, encoder.layer1.lin.weight, True),
        (net.first.bias, encoder.layer1.bias, False),
        (net.second.weight, encoder.layer2.lin.weight, True),
        (net.second.bias, encoder.layer2.bias, False),
        (net.third.weight, encoder.layer3.weight, False),
        (net.third.bias, encoder.layer3.bias, False),
        (net.projector.weight, reference_model.projector.weight, False),
        (net.projector.bias, reference_model.projector.bias, False),
        (net.genes.weight, reference_model.gene_encoder.gcn.lin.weight, True),
        (net.genes.bias, reference_model.gene_encoder.gcn.bias, False),
    ]
    with torch.no_grad():
        for parameter, reference, turned in pairs:
            parameter.copy_(reference.T if turned else reference)
    genes = smoother(run.genes, directed=True).astype(np.float32)
    net.gene_input = torch.from_numpy(genes @ run.features[0].numpy().T)
    second = torch.from_numpy(smooth.astype(np.float32) @ run.features[1].numpy())
    near = CellLinks.of(run.graph + sparse.identity(adata.n_obs))
    losses = net(run.features[0], second, SparseMatrix.of(smooth, symmetric=True), near)
    losses["loss"].backward()
    apart = [
        float((parameter.grad - (reference.grad.T if turned else reference.grad)).norm() / reference.grad.norm())
        for parameter, reference, turned in pairs
    ]
    for key, value in terms.items():
        show(data=name, row=key, authors=float(value), ours=float(losses[key]))
    show(data=name, row="gradients", largest_relative_difference=max(apart))


def accuracy(name: str, adata: Any, labels: NDArray[Any], args: argparse.Namespace) -> None:
    """Compare expression alone, the authors' code, and our model by its defaults and in the authors' form."""
    n_types = len(set(labels))
    for seed in range(args.seeds):
        for row in args.rows:
            facts: dict[str, Any] = {}
            with measured() as cost:
                if row == "pca":
                    embedding = principal_components(read_cells(adata, needs="log").matrix)
                elif row == "authors":
                    run = authors(args.authors, name, adata, n_types, seed)
                    for _ in range(args.authors_epochs):
                        run.step()
                    embedding, facts = run.embedding(), {"epochs": args.authors_epochs}
                else:
                    model = ours(args, seed) if row == "ours" else paper(name, n_types, seed, args)
                    model.fit(adata, trainer=Trainer(device="cpu", precision=args.precision))
                    embedding, facts = model.embed(adata), {"epochs": len(model.history)}
            tell(name, row, seed, embedding, labels, cost, estimate=args.estimate, **facts)


def controls(name: str, adata: Any, labels: NDArray[Any], args: argparse.Namespace) -> None:
    """Compare the gene graph from expression, text, both, and controls of the text."""
    priors = GenePriors.open(args.index).center().align(adata)
    for seed in range(args.seeds):
        rows: list[tuple[str, Any, str]] = [
            ("expression", None, "expression"),
            ("text", priors, "text"),
            ("blend", priors, "blend"),
            ("no gene graph", priors.without(), "text"),
        ]
        if seed == 0:
            rows += [(f"permuted {i}", priors.permuted(i), "text") for i in range(args.permutations)]
            rows += [(f"random {i}", priors.random(i), "text") for i in range(args.permutations)]
        for row, prior, kind in rows:
            with measured() as cost:
                model = ours(args, seed, gene_graph=kind).fit(adata, prior, trainer=Trainer(device="cpu"))
            matched = {"n_with_prior": model.facts["n_with_prior"]}
            tell(name, row, seed, model.embed(adata), labels, cost, estimate=False, **matched)


def speed(name: str, adata: Any, labels: NDArray[Any], args: argparse.Namespace) -> None:
    """Time an epoch: the authors' step alone, theirs with its evaluation, ours of the same width and by default.

    On one thread, in seconds of the processor: other work on the machine does not count.
    """
    torch.set_num_threads(1)
    epochs = args.epochs or 5
    n_types = len(set(labels))
    rows: list[tuple[str, RefinementModel, str]] = [
        ("ours, paper preset, float32", paper(name, n_types, 0, args, epochs=1), "32-true"),
        ("ours, paper preset, bf16-mixed", paper(name, n_types, 0, args, epochs=1), "bf16-mixed"),
        ("ours, default, float32", RefinementModel(epochs=1), "32-true"),
    ]
    seconds: dict[str, float] = {}
    for row, model, precision in rows:
        trainer = Trainer(device="cpu", precision=precision)
        stamps: list[float] = []
        timed = type(model)(model.config, epochs=epochs + 1)
        with measured() as cost:
            timed.fit(adata, trainer=trainer, progress=stopwatch(stamps, time.process_time))
        seconds[row] = float(np.median(np.diff(stamps)))
        show(data=name, row=row, cpu_seconds_per_epoch=seconds[row], n_cells=adata.n_obs, **cost)
    if args.authors:
        run = authors(args.authors, name, adata, n_types, 0)
        run.step()
        for row, work in (("authors' step", run.step), ("authors' step and evaluation", run.step_and_evaluate)):
            with measured() as cost:
                times = [timed_call(work) for _ in range(epochs)]
            seconds[row] = float(np.median(times))
            ratios = {
                f"by {method}": seconds[row] / value for method, value in seconds.items() if method.startswith("ours")
            }
            show(data=name, row=row, cpu_seconds_per_epoch=seconds[row], n_cells=adata.n_obs, **cost, **ratios)


def new_cells(name: str, adata: Any, labels: NDArray[Any], args: argparse.Namespace) -> None:
    """Hold out every fifth cell, and tell whether its neighbours have its type, as when it had been fitted too."""
    from sklearn.neighbors import KNeighborsClassifier

    held = np.random.default_rng(0).permutation(adata.n_obs)[: adata.n_obs // 5]
    rest = np.setdiff1d(np.arange(adata.n_obs), held)

    def votes(embedding: NDArray[Any]) -> float:
        voters = KNeighborsClassifier(10).fit(embedding[rest], labels[rest])
        return float(voters.score(embedding[held], labels[held]))

    whole = ours(args, 0).fit(adata, trainer=Trainer(device="cpu"))
    part = ours(args, 0).fit(adata[rest].copy(), trainer=Trainer(device="cpu"))
    embedding = part.embed(adata)
    kept, again = part.state.training_cells, part.cells(adata[rest])
    points = graph_points(again.log().matrix, kept.space)
    as_new = part._attached(part._features(again, part.state.scale), points, kept, torch.device("cpu"))
    show(
        data=name,
        row="held out",
        knn_fitted=votes(whole.embed(adata)),
        knn_new=votes(embedding),
        knn_pca=votes(principal_components(read_cells(adata, needs="log").matrix)),
        cosine_of_training_cells_as_new=float(np.median((as_new * embedding[rest]).sum(1) / 2)),
    )


def scale(args: argparse.Namespace) -> None:
    """Fit simulated cells in mini-batches and tell the peak of memory; the data take part in it."""
    adata = simulated(args.cells, 2000)
    model = RefinementModel(epochs=args.epochs or 2)
    stamps = [time.perf_counter()]
    with measured() as cost:
        model.fit(adata, trainer=Trainer(device="cpu"), progress=stopwatch(stamps))
        embedding = model.embed(adata)
    labels = adata.obs["cell_type"].to_numpy()
    subset = np.arange(0, adata.n_obs, max(1, adata.n_obs // 5000))
    show(
        row="scale",
        n_cells=adata.n_obs,
        seconds_per_epoch=float(np.median(np.diff(stamps)[1:])),
        knn=metrics.knn_accuracy(embedding[subset], labels[subset]),
        **cost,
    )


# -- rows and costs -----------------------------------------------------------------------------------------------


def tell(
    name: str,
    row: str,
    seed: int,
    embedding: NDArray[Any],
    labels: NDArray[Any],
    cost: dict[str, float],
    *,
    estimate: bool = True,
    **facts: Any,
) -> None:
    n_types = len(set(labels))
    groups = cluster(embedding, n_types, metric="cosine", seed=seed).labels
    cut = cluster(embedding, n_types, method="leiden", seed=seed).labels
    estimated: dict[str, Any] = {}
    if estimate:
        clustering = cluster(embedding, seed=seed)
        estimated = {f"{key}, Leiden": score(labels, clustering.labels) for key, score in SCORES.items()}
        estimated["n_found"] = clustering.n_clusters
    show(
        data=name,
        row=row,
        seed=seed,
        n_types=n_types,
        **{f"{key}, k-means true K": score(labels, groups) for key, score in SCORES.items()},
        **{f"{key}, Leiden true K": score(labels, cut) for key, score in SCORES.items()},
        **estimated,
        knn=metrics.knn_accuracy(embedding, labels),
        **cost,
        **facts,
    )


SCORES: dict[str, Callable[[NDArray[Any], NDArray[Any]], float]] = {
    "ARI": metrics.ari,
    "NMI": metrics.nmi,
    "ACC": metrics.matched_accuracy,
}


def show(**values: Any) -> None:
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
    sys.stdout.write(json.dumps(rounded) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Measure wall-clock seconds and the peak of resident memory (Linux), of which the process's own before counts."""
    cost: dict[str, float] = {}
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter()
    yield cost
    cost["seconds"] = time.perf_counter() - started
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        cost["peak_mb"] = int(status.split("VmHWM:")[1].split()[0]) / 1024


def stopwatch(stamps: list[float], clock: Callable[[], float] = time.perf_counter) -> Callable[..., None]:
    return lambda *_: stamps.append(clock())


def timed_call(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def ours(args: argparse.Namespace, seed: int, **changes: Any) -> RefinementModel:
    return RefinementModel(seed=seed, **({"epochs": args.epochs} if args.epochs else {}), **changes)


def paper(name: str, n_types: int, seed: int, args: argparse.Namespace, **changes: Any) -> RefinementModel:
    """Our model in the authors' form; like theirs it is told the number of types."""
    preset = "paper:baron_human" if name == "baron" else "paper"
    epochs = {"epochs": args.authors_epochs}
    return RefinementModel.preset(preset, seed=seed, **{**epochs, "n_latent": n_types, **changes})


def simulated(n_cells: int, n_genes: int, *, n_types: int = 20, seed: int = 0) -> Any:
    """Draw counts of cells of some types, one in ten values not zero, a block of cells at a time."""
    rng = np.random.default_rng(seed)
    level = rng.gamma(0.3, 0.3, size=n_genes)
    rates = level * np.exp(rng.normal(0, 1.0, size=(n_types, n_genes)) * (rng.random((n_types, n_genes)) < 0.1))
    kinds = rng.integers(0, n_types, n_cells)
    blocks = [
        sparse.csr_matrix(rng.poisson(rates[part] * rng.uniform(0.5, 2, (len(part), 1))).astype(np.float32))
        for part in np.array_split(kinds, max(1, n_cells // 2000))
    ]
    obs = pd.DataFrame({"cell_type": kinds.astype(str)}, index=[f"c{i}" for i in range(n_cells)])
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)])
    return anndata.AnnData(sparse.vstack(blocks, format="csr"), obs=obs, var=var)


# -- the authors' code --------------------------------------------------------------------------------------------


class authors:
    """The authors' network and losses on some cells, features and graphs made by the steps of their `dataset.py`.

    Their loading itself names functions that current releases of anndata and scanpy no longer have.
    """

    def __init__(self, path: Path, name: str, adata: Any, n_types: int, seed: int) -> None:
        for absent in ("ot", "umap", "scanpy", "scipy.sparse.csc", "scipy.sparse.csr"):
            # Imported by utils.py; used for spatial data, for figures and for loading only.
            module = types.ModuleType(absent)
            module.csc_matrix, module.csr_matrix = sparse.csc_matrix, sparse.csr_matrix  # type: ignore[attr-defined]
            sys.modules.setdefault(absent, module)
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
        import clustering  # type: ignore[import-not-found]
        from model import Model  # type: ignore[import-not-found]
        from utils import cosine_distance  # type: ignore[import-not-found]

        # Their k-means asks for CUDA whatever the device.
        clustering.cosine_distance = partial(cosine_distance, device=torch.device("cpu"))
        config = AUTHORS.get(name, AUTHORS["default"])
        cells = read_cells(adata, needs="counts")
        columns = variable_genes(cells.log().matrix, config["hvg"])
        cells = cells.genes(columns)
        graph = neighbour_graph(graph_points(cells.log().matrix, None), 14)
        smooth = smoother(graph)
        views = [filtered(cells.matrix, smooth, hops) for hops in config["tms"]]
        torch.manual_seed(seed)
        self.features = [torch.from_numpy(v.toarray() if sparse.issparse(v) else v) for v in views]
        self.edges = torch.from_numpy(np.stack(graph.nonzero()).astype(np.int64))
        self.graph, self.smooth = graph, smooth
        self.genes = expression_graph(cells.matrix, 4, metric="euclidean")
        with_self = self.genes + sparse.identity(len(columns))
        self.gene_edges = torch.from_numpy(np.stack(with_self.nonzero()).astype(np.int64))
        self.adjacency = torch.from_numpy(graph.toarray().astype(np.int64))
        self.config, self.n_types, self.clustering = config, n_types, clustering.clustering
        self.device = torch.device("cpu")
        self.model = Model(len(columns), 1500, n_types, cells.n_cells, config["dropout"], self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config["lr"], weight_decay=config["wd"])

    def losses(self) -> dict[str, torch.Tensor]:
        """Return their three losses and the sum that they minimise."""
        e1, e2, z1, z2 = self.model(self.features, self.edges, self.gene_edges)
        t = self.config["t"]
        eda = self.model.embedding_distribution_alignment(x_1=e1, x_2=e2, t=t)
        nca = self.model.neighborhood_contrastive_alignment(x_1=e1, x_2=e2, adj=self.adjacency, t=t)
        cvc = self.model.cross_view_consistency(Z1=z1, Z2=z2, adj=self.adjacency)
        return {"loss": eda + self.config["l1"] * nca + self.config["l2"] * cvc, "eda": eda, "nca": nca, "cvc": cvc}

    def step(self) -> None:
        """Train one epoch, as their loop does."""
        self.model.train()
        loss = self.losses()["loss"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def embedding(self) -> NDArray[np.float32]:
        """Return both refined views."""
        self.model.eval()
        _, _, z1, z2 = self.model(self.features, self.edges, self.gene_edges)
        both: NDArray[np.float32] = torch.cat([z1, z2], dim=1).detach().numpy()
        return both

    def step_and_evaluate(self) -> None:
        """Train one epoch and group the cells after it, as their loop does after every epoch."""
        self.step()
        self.clustering(torch.from_numpy(self.embedding()), self.n_types, device=self.device)


if __name__ == "__main__":
    main()
