"""Leading directions of a Gram or covariance matrix, each with a sign that does not depend on the machine."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def leading_directions(gram: Floats, n: int) -> tuple[Floats, Floats]:
    """Return the largest eigenvalues of a symmetric matrix, largest first, and their eigenvectors.

    Parameters
    ----------
    gram
        `(d, d) float64`, symmetric; overwritten.
    n
        How many; all where there are fewer.

    Returns
    -------
    values
        `(min(n, d),)`.
    vectors
        `(d, min(n, d))`, of length one; the sign of each makes its largest loading positive.
    """
    from scipy.linalg import eigh
    from threadpoolctl import threadpool_limits

    d = len(gram)
    n = min(n, d)
    if n < 1:
        return np.zeros(0), np.zeros((d, 0))
    # On one thread: others change the last bits, and on a busy machine make it tens of times slower.
    with threadpool_limits(1):
        values, vectors = eigh(gram, subset_by_index=[d - n, d - 1], overwrite_a=True)
    vectors = vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.where(vectors[largest, np.arange(n)] < 0, -1.0, 1.0)
    return values[::-1], vectors * signs
