"""Sparse products with a gradient: a graph of cells or genes as torch takes it."""

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


class Links:
    """A constant sparse matrix that dense tensors are multiplied by.

    It keeps its transpose too, which the gradient needs; of a symmetric matrix that is the matrix itself. Fabric moves
    it between devices like a tensor.

    Parameters
    ----------
    matrix
        `(n, m)`, sparse, of torch.
    transposed
        `(m, n)`: the same, transposed.
    """

    def __init__(self, matrix: Tensor, transposed: Tensor) -> None:
        self.matrix, self._transposed = matrix, transposed

    @classmethod
    def of(cls, matrix: Any, *, symmetric: bool = False, dtype: torch.dtype = torch.float32) -> "Links":
        """Take a sparse matrix of SciPy; `symmetric` promises that it equals its transpose."""
        one = _tensor(matrix, dtype)
        return cls(one, one if symmetric else _tensor(matrix.T, dtype))

    def to(self, device: Any) -> "Links":
        """Return it on another device."""
        moved = self.matrix.to(device)
        return Links(moved, moved if self._transposed is self.matrix else self._transposed.to(device))

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Return the product with `(m, d)`, in the precision of the matrix: sums over neighbours are not cut short."""
        out: Tensor = _Product.apply(dense.to(self.matrix.dtype), self.matrix, self._transposed)  # type: ignore[no-untyped-call]
        return out


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.transposed = transposed
        # Sums over neighbours stay in full precision where Fabric runs products in half.
        with torch.autocast(dense.device.type, enabled=False):
            product: Tensor = torch.sparse.mm(matrix, dense)
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return torch.sparse.mm(ctx.transposed, gradients[0].contiguous()), None, None


def _tensor(matrix: Any, dtype: torch.dtype) -> Tensor:
    rows = sparse.csr_matrix(matrix)
    rows.sort_indices()
    entries = rows.tocoo()
    index = torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))
    # Rows are sorted and no entry stands twice: torch need not look.
    made: Tensor = torch.sparse_coo_tensor(
        index, torch.from_numpy(entries.data).to(dtype), size=rows.shape, is_coalesced=True, check_invariants=False
    )
    return made
