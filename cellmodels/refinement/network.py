"""The network of RefinementModel: two views of cells, and genes that refine both."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellmodels.nn.dense_product import Linear, linear
from cellmodels.nn.sparse_product import Cells, SparseMatrix, times
from cellmodels.refinement.losses import (
    CellLinks,
    cross_view_consistency,
    distribution_alignment,
    neighbourhood_alignment,
)


class GraphLinear(nn.Module):
    """One graph convolution, `S x W + b`, of what was smoothed before; weights after Glorot, bias zero at the start."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Cells) -> Tensor:
        """Apply it to `S x`, `(n, n_in)`."""
        return times(x, self.weight, self.bias)


class RefinementNet(nn.Module):
    """Views of cells, refined by genes.

    Parameters
    ----------
    n_genes, n_hidden, n_latent
        Widths: G, h and o.
    n_gene_features
        Width of what the gene branch reads.
    dropout, temperature, alignment_weight, consistency_weight
        As in `RefinementConfig`.

    Attributes
    ----------
    gene_input
        `(G, n_gene_features)`: features of genes, smoothed along the gene graph. Only there while fitting.
    gene_embedding
        `(G, o)`: what the gene branch made of them, once fitted; cells are embedded with it.
    """

    gene_input: Tensor
    gene_embedding: Tensor

    def __init__(
        self,
        n_genes: int,
        n_hidden: int,
        n_latent: int,
        n_gene_features: int,
        *,
        dropout: float,
        temperature: float,
        alignment_weight: float,
        consistency_weight: float,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.alignment_weight, self.consistency_weight = alignment_weight, consistency_weight
        self.mlp = nn.Linear(n_genes, n_hidden)
        self.first = GraphLinear(n_genes, n_hidden)
        self.second = GraphLinear(n_hidden, n_hidden)
        self.third = Linear(n_hidden, n_hidden)
        self.projector = nn.Linear(n_hidden, n_genes)
        self.genes = GraphLinear(n_gene_features, n_latent)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("gene_input", torch.zeros(0, n_gene_features), persistent=False)
        self.register_buffer("gene_embedding", torch.zeros(n_genes, n_latent))

    def forward(self, x1: Cells, x2: Cells, smooth: SparseMatrix, near: CellLinks) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Parameters
        ----------
        x1
            `(n, G)`: features of the first view.
        x2
            `(n, G)`: features of the second view, smoothed once more: the first graph convolution is done with it.
        smooth
            `(n, n)`: the filter of the second convolution.
        near
            Neighbours of the cells.
        """
        h1, h2 = self.expression_view(x1), self.graph_view(self.graph_input(x2), smooth)
        e1, e2 = functional.normalize(h1.float(), dim=1), functional.normalize(h2.float(), dim=1)
        genes = self.refined_genes()
        z1, z2 = self.refine(h1, genes), self.refine(h2, genes)
        with torch.autocast(h1.device.type, enabled=False):
            eda = distribution_alignment(e1, e2, self.temperature)
            nca = neighbourhood_alignment(e1, e2, near, self.temperature)
            cvc = cross_view_consistency(z1, z2, near)
        loss = eda + self.alignment_weight * nca + self.consistency_weight * cvc
        return {"loss": loss, "eda": eda, "nca": nca, "cvc": cvc}

    def expression_view(self, x1: Cells) -> Tensor:
        """Return H1 `(n, h)`: the perceptron's view."""
        return functional.relu(times(x1, self.mlp.weight.T, self.mlp.bias))

    def graph_input(self, x2: Cells) -> Tensor:
        """Return what comes out of the first convolution `(n, h)`, of features that were smoothed before."""
        return functional.leaky_relu(self.first(x2))

    def graph_view(self, hidden: Tensor, smooth: SparseMatrix) -> Tensor:
        """Return H2 `(n, h)`: the graph's view, from what `graph_input` made of the cells that `smooth` reads."""
        return self.graph_output(smooth @ times(hidden, self.second.weight))

    def graph_output(self, gathered: Tensor) -> Tensor:
        """Return H2 `(n, h)` from what was gathered over the neighbours in the second convolution."""
        hidden = functional.leaky_relu(gathered + self.second.bias)
        return functional.leaky_relu(self.third(self.dropout(hidden)))

    def refined_genes(self) -> Tensor:
        """Return T `(G, o)`: from the gene branch while fitting, else as it was kept."""
        if len(self.gene_input):
            return functional.relu(self.genes(self.gene_input))
        return self.gene_embedding

    def refine(self, hidden: Tensor, genes: Tensor) -> Tensor:
        """Return Z `(n, o)`: the projection to genes, times T, each row of length one.

        `(H W + b) T` is computed as `H (W T) + b T`: the same, without a cells x genes matrix.
        """
        through = linear(genes.T, self.projector.weight.T)
        z = linear(self.dropout(hidden), through, genes.T @ self.projector.bias)
        return functional.normalize(z.float(), dim=1)

    @torch.no_grad()
    def keep_genes(self) -> None:
        """Keep T, and forget the features of genes that it was made from."""
        self.gene_embedding.copy_(self.refined_genes().float())
        self.gene_input = self.gene_input[:0]
