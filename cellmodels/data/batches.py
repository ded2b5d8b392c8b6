"""Cells divided into mini-batches, and into those to train on and those held out."""

import numpy as np

from cellmodels.data.inputs import Rows


def shuffled(rows: Rows, size: int, rng: np.random.Generator) -> list[Rows]:
    """Cut cells, in a random order, into mini-batches of at most `size`, none smaller than the others by more than one.

    Three cells by two give a batch of one, which batch normalisation cannot take: a model that has it merges that.
    """
    return in_order(rng.permutation(rows), size)


def in_order(rows: Rows, size: int) -> list[Rows]:
    """Cut cells into mini-batches of at most `size`, as they stand; none for no cells."""
    return list(np.array_split(rows, -(-len(rows) // size))) if len(rows) else []


def fixed(rows: Rows, size: int, seed: int) -> list[Rows]:
    """Cut held-out cells into mini-batches that are the same each time, whatever the order of the file.

    A loss that compares the cells of a batch would else depend on which cells stand next to each other.
    """
    return shuffled(rows, size, np.random.default_rng([seed, 7]))


def split(n_cells: int, share: float, seed: int) -> tuple[Rows, Rows]:
    """Return the cells to train on and those to hold out, both in order; at least one to train on."""
    n_held = min(round(share * n_cells), n_cells - 1)
    order = np.random.default_rng([seed, 1]).permutation(n_cells)
    return np.sort(order[n_held:]), np.sort(order[:n_held])
