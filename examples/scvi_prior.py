"""A gene prior in scVI: the weights that belong to genes start from what is written about them.

    pip install 'genetext[scvi]'
    python examples/scvi_prior.py
    python examples/scvi_prior.py --data cells.h5ad --batch donor --index human/minilm

scVI has two matrices with one row per gene: the first layer of its encoder and the last of its decoder. Here each is
`projected prior + correction`, the correction zero at the start; nothing else of scVI changes. Prior, controls and none
are compared by the reconstruction loss on cells that were not trained on (smaller is better).
"""

import argparse
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anndata
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cellmodels import GenePriorEmbedding
from genetext import GeneIndex, build_index
from genetext.escape import printable
from genetext.priors import GenePriors


class PriorWeight(nn.Module):
    """A weight matrix `(n_genes, n_hidden)`, or its transpose: gene embeddings plus what training adds to them."""

    def __init__(self, priors: GenePriors, weight: Tensor, *, transposed: bool, seed: int) -> None:
        super().__init__()
        n_hidden = weight.shape[0] if transposed else weight.shape[1]
        self.genes = GenePriorEmbedding(priors, proj=n_hidden, seed=seed)
        self.transposed = transposed

    def forward(self, correction: Tensor) -> Tensor:
        """Return the weight that the layer uses."""
        genes = self.genes()
        return correction + (genes.T if self.transposed else genes)


def put_prior(model: Any, priors: GenePriors, *, seed: int = 0) -> None:
    """Put priors into an scVI model that was not trained yet. It can then be trained as always."""
    encoder = model.module.z_encoder.encoder.fc_layers[0][0]
    decoder = model.module.decoder.px_scale_decoder[0]
    for layer, transposed in ((encoder, True), (decoder, False)):
        genes = layer.weight.shape[1 if transposed else 0]
        if genes != len(priors):
            raise SystemExit(f"scVI has a layer for {genes:,} inputs and the priors {len(priors):,} genes")
        nn.init.zeros_(layer.weight)
        parametrize.register_parametrization(
            layer, "weight", PriorWeight(priors, layer.weight, transposed=transposed, seed=seed)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="h5ad with counts in X; default: cells made up here")
    parser.add_argument("--batch", default="donor", help="column of obs for scVI's batch_key")
    parser.add_argument("--index", help="human/minilm ...; default: a lexical index of the bundled facts")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    if find_spec("scvi") is None:
        raise SystemExit(
            "this example needs scvi-tools: pip install 'genetext[scvi]' (about 30 packages; torch stays as it is)"
        )
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import scvi
    from custom_model import make_cells

    index = GeneIndex.open(options.index) if options.index else build_index("human", encoder="lexical", source="facts")
    adata = anndata.read_h5ad(options.data) if options.data else make_cells(index)
    priors = GenePriors.open(index).align(adata)
    print(printable(str(priors.report)))
    priors = priors.center().unit()
    scvi.model.SCVI.setup_anndata(adata, batch_key=options.batch)
    for arm in (priors, priors.permuted(0), priors.random(0), priors.without(), None):
        scvi.settings.seed = 0
        model = scvi.model.SCVI(adata, n_latent=10)
        if arm is not None:
            put_prior(model, arm)
        quiet = {"enable_progress_bar": False, "logger": False, "enable_model_summary": False}
        model.train(max_epochs=options.epochs, train_size=0.8, check_val_every_n_epoch=options.epochs, **quiet)
        with torch.no_grad():
            loss = model.get_reconstruction_error(indices=model.validation_indices)
        value = float(next(iter(loss.values())) if isinstance(loss, dict) else loss)
        print(printable(f"{abs(value):10.2f}  {'scVI as it is' if arm is None else arm.description}"))


if __name__ == "__main__":
    main()
