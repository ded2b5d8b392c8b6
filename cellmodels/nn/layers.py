"""Layers that bring gene priors into a model."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from genetext.errors import PriorsError
from genetext.priors import GenePriors


class GenePriorEmbedding(nn.Module):
    """An embedding of the genes of a data set that starts from what is written about them.

    A gene with a prior is the projection of its vector. A gene without one has a vector of its own that is learned,
    never zeros. With `priors.without()` that holds for all genes, so that one model runs with a prior, with a
    control and with none.

    Parameters
    ----------
    priors
        Aligned to the genes of the model (`GenePriors.align`), `n_genes` rows.
    trainable
        What is learned beside the projection. False: nothing, the prior is a constant. `"residual"`: a correction of
        each gene, zero at the start. True: the prior vectors themselves.
    proj
        Length of an embedding. None: that of the prior, without projection.
    dropout
        Share of the embedding's entries dropped in training.
    seed
        Seed of the projection and of the learned vectors; the global generator of torch is not touched.

    Attributes
    ----------
    base
        `(n_genes, dim)`: the prior vectors, a buffer, or a parameter if `trainable` is True.
    mask
        `(n_genes,) bool`: which genes have a prior.
    free
        `(n_free, embedding_dim)`: the learned vectors of genes without a prior; for `"residual"` of all genes.
    project
        The linear map from `dim` to `proj`, or None.

    Examples
    --------
    >>> layer = GenePriorEmbedding(priors.center().unit(), proj=64)  # doctest: +SKIP
    >>> decoder_logits = latent @ layer().T  # doctest: +SKIP
    """

    base: Tensor
    mask: Tensor
    slot: Tensor
    genes_digest: Tensor

    def __init__(
        self,
        priors: GenePriors,
        *,
        trainable: Literal[False, True, "residual"] = False,
        proj: int | None = 64,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        # 1 equals True and is not it: further down it would act as False.
        if not (trainable is False or trainable is True or trainable == "residual"):
            raise PriorsError(f"trainable={trainable!r}: False, True or 'residual'")
        if proj is None and not priors.dim:
            raise PriorsError("priors of dimension 0 (without) do not tell the length of an embedding: pass proj=")
        if proj is not None and proj < 1:
            raise PriorsError(f"proj={proj}: an embedding has one entry at least")
        self.trainable = trainable
        self.embedding_dim = priors.dim if proj is None else proj
        self.description = priors.description
        vectors, mask = priors.to_torch()
        # What the policy put into the rows of missing genes is no prior: their vectors are learned.
        vectors = vectors * mask[:, None]
        if trainable is True:
            self.base = nn.Parameter(vectors)
        else:
            self.register_buffer("base", vectors)
        self.register_buffer("mask", mask)
        learned = torch.ones_like(mask) if trainable == "residual" else ~mask
        self.register_buffer("slot", torch.where(learned, learned.cumsum(0) - 1, -1))
        self.register_buffer("genes_digest", _digest(priors))
        self.free = nn.Parameter(torch.empty(int(learned.sum()), self.embedding_dim))
        self.project = None
        if proj is not None and priors.dim:
            # Linear's own initialisation would draw from the global generator, and is overwritten anyway.
            self.project = nn.utils.skip_init(nn.Linear, priors.dim, proj, bias=False)  # type: ignore[no-untyped-call]
        self.dropout = nn.Dropout(dropout)
        self._initial = None if trainable is not True else vectors.clone()
        self.reset(seed)

    @property
    def num_embeddings(self) -> int:
        """Number of genes."""
        return len(self.mask)

    @torch.no_grad()
    def reset(self, seed: int = 0) -> None:
        """Start anew: projection and learned vectors from `seed`, corrections at zero, the prior as it was given.

        Rows come out with a length of about one, with a prior and without, so that controls differ in what the
        vectors say and not in how large they are.
        """
        generator = torch.Generator().manual_seed(seed)
        if self._initial is not None:
            self.base.copy_(self._initial)
        known = self.base[self.mask]
        length = float(known.norm(dim=1).square().mean().sqrt()) if known.numel() else 0.0
        if self.project is not None:
            scale = 1 / (math.sqrt(self.embedding_dim) * (length or 1.0))
            self.project.weight.copy_(_normal(self.project.weight, generator) * scale)
            length = 1.0
        self.free.copy_(_normal(self.free, generator) * ((length or 1.0) / math.sqrt(self.embedding_dim)))
        if self.trainable == "residual":
            self.free[self.mask] = 0

    def forward(self, gene_index: Tensor | None = None) -> Tensor:
        """Return the embeddings of some genes.

        Parameters
        ----------
        gene_index
            Positions in `var`, any shape, integers. Default: all genes in order.

        Returns
        -------
        `(*gene_index.shape, embedding_dim)`, or `(n_genes, embedding_dim)`.
        """
        base = self.base if gene_index is None else self.base[gene_index]
        mask = self.mask if gene_index is None else self.mask[gene_index]
        slot = self.slot if gene_index is None else self.slot[gene_index]
        if self.project is not None:
            base = self.project(base)
        # Masked here too: a trainable base must not grow vectors for genes that have none.
        out = base * mask[..., None] if base.shape[-1] else base.new_zeros((*mask.shape, self.embedding_dim))
        if len(self.free):
            out = out + self.free[slot.clamp(min=0)] * (slot >= 0)[..., None]
        dropped: Tensor = self.dropout(out)
        return dropped

    def residual_penalty(self) -> Tensor:
        """Return the mean square of the corrections of genes that have a prior; zero where there are none.

        Added to a loss, it keeps genes with little data at what is written about them.
        """
        if self.trainable != "residual" or not bool(self.mask.any()):
            return self.free.new_zeros(())
        return self.free[self.mask].square().mean()

    def extra_repr(self) -> str:
        """Say what the layer holds, for `print(model)`."""
        return (
            f"{int(self.mask.sum())} of {self.num_embeddings} genes with a prior, {self.base.shape[1]} -> "
            f"{self.embedding_dim}, trainable={self.trainable!r}: {self.description}"
        )

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any, **options: Any) -> None:
        """Refuse weights of other genes: the shapes could fit, and every gene would get another's vector."""
        digest = state_dict.get(f"{prefix}genes_digest")
        if digest is not None and not torch.equal(digest.to(self.genes_digest.device), self.genes_digest):
            raise PriorsError(
                f"these weights belong to other genes, or to the same {self.num_embeddings:,} in another order: align "
                f"the priors to the genes that the model was trained on"
            )
        super()._load_from_state_dict(state_dict, prefix, *rest, **options)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw on the CPU whatever the device, so that a seed means the same numbers everywhere."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like)


def _digest(priors: GenePriors) -> Tensor:
    digest = hashlib.sha256("\n".join(map(str, priors.owner_names)).encode()).digest()
    return torch.from_numpy(np.frombuffer(digest, np.uint8).copy())
