"""Sparse products with a gradient: a graph of cells or genes, or the expression of cells, as torch takes it."""

import warnings
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.autograd.function import once_differentiable

from cellmodels.nn.dense_product import linear

DENSE_ABOVE = 0.2
"""Share of values that are not zero above which a dense product is as fast as a sparse one, whatever the threads."""


class SparseMatrix:
    """A constant sparse matrix that dense tensors are multiplied by.

    Its transpose, which the gradient needs, is made when it is first asked for; of a symmetric matrix it is the matrix
    itself. Fabric moves it between devices like a tensor. Rows are summed each by one thread, so that the number of
    threads changes nothing.

    Parameters
    ----------
    matrix
        `(n, m)`, CSR, of torch.
    symmetric
        Whether it equals its transpose.
    """

    def __init__(self, matrix: Tensor, *, symmetric: bool = False) -> None:
        self.matrix = matrix
        self._transposed = matrix if symmetric else None

    @classmethod
    def of(cls, matrix: Any, *, symmetric: bool = False, dtype: torch.dtype = torch.float32) -> "SparseMatrix":
        """Take a copy of a sparse matrix of SciPy; `symmetric` promises that it equals its transpose."""
        return cls(_tensor(matrix, dtype), symmetric=symmetric)

    @property
    def transposed(self) -> Tensor:
        """`(m, n)`, CSR."""
        if self._transposed is None:
            rows = self.matrix.cpu()  # SciPy transposes it ten times as fast as torch
            parts = (rows.values().numpy(), rows.col_indices().numpy(), rows.crow_indices().numpy())
            transposed = _tensor(sparse.csr_matrix(parts, shape=rows.shape).T, rows.dtype)
            self._transposed = transposed.to(self.matrix.device)
        return self._transposed

    @property
    def shape(self) -> torch.Size:
        """`(n, m)`."""
        return self.matrix.shape

    def to(self, device: Any) -> "SparseMatrix":
        """Return it on another device; for Apple's, which has no sparse products, it stays where it is."""
        if torch.device(device).type == "mps":
            return self
        return SparseMatrix(self.matrix.to(device), symmetric=self._transposed is self.matrix)

    def entries(self) -> tuple[Tensor, Tensor]:
        """Return where its entries stand in a flat dense matrix, and the entries: `(n_entries,)` each."""
        begins = self.matrix.crow_indices().long()
        row = torch.repeat_interleave(torch.arange(len(begins) - 1, device=begins.device), begins.diff())
        return row * self.shape[1] + self.matrix.col_indices(), self.matrix.values()

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Return the product with `(m, d)`, in the precision of the matrix: sums over neighbours are not cut short."""
        right = dense.to(self.matrix.device, self.matrix.dtype)
        out: Tensor = _Product.apply(right, self)  # type: ignore[no-untyped-call]
        return out.to(dense.device)


class Smoothed:
    """Features averaged over neighbours, `S^hops X`, which are multiplied without being made: `S^hops (X W)`.

    Parameters
    ----------
    smooth
        `(n, n)`: `S`.
    hops
        How often; 0: the features as they are.
    features
        `(n, G)`: `X`.
    """

    def __init__(self, smooth: SparseMatrix, hops: int, features: SparseMatrix) -> None:
        self.smooth, self.hops, self.features = smooth, hops, features

    def to(self, device: Any) -> "Smoothed":
        """Return them on another device."""
        return Smoothed(self.smooth.to(device), self.hops, self.features.to(device))

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Return the product with `(G, d)`."""
        product = self.features @ dense
        for _ in range(self.hops):
            product = self.smooth @ product
        return product


Cells = Tensor | SparseMatrix | Smoothed
"""Rows of cells by genes, in the form that is fastest multiplied: all are left factors of `@`."""


def times(cells: Cells, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the product of `(n, G)` in any form and `(G, d)`, plus `(d,)`."""
    if isinstance(cells, Tensor):
        return linear(cells, weight.T, bias)
    product = cells @ weight
    return product if bias is None else product + bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        # Sums over neighbours stay in full precision where Fabric runs products in half.
        with torch.autocast(dense.device.type, enabled=False):
            product: Tensor = torch.sparse.mm(matrix.matrix, dense.contiguous())
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return torch.sparse.mm(ctx.matrix.transposed, gradients[0].contiguous()), None


def is_sparse_enough(matrix: Any, n_more: int = 0) -> bool:
    """Return whether a sparse product by this matrix of SciPy, and by `n_more` entries, is faster than a dense one."""
    return bool(sparse.issparse(matrix) and matrix.nnz + n_more <= DENSE_ABOVE * np.prod(matrix.shape))


def _tensor(matrix: Any, dtype: torch.dtype) -> Tensor:
    rows = sparse.csr_matrix(matrix, copy=True)
    rows.sort_indices()
    with warnings.catch_warnings():
        # "Sparse CSR tensor support is in beta state": said once in a process.
        warnings.filterwarnings("ignore", category=UserWarning, message="Sparse CSR tensor support")
        made: Tensor = torch.sparse_csr_tensor(
            torch.from_numpy(rows.indptr.astype(rows.indices.dtype)),
            torch.from_numpy(rows.indices),
            torch.from_numpy(np.ascontiguousarray(rows.data)).to(dtype),
            size=rows.shape,
            check_invariants=False,
        )
    return made
