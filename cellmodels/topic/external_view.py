"""The view of cells that topics are made to agree with."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellmodels.data.inputs import CellMatrix
from cellmodels.groups.pca import PCA
from cellmodels.topic.config import TopicConfig
from genetext.errors import CellsError, ModelError, first_ten

if TYPE_CHECKING:
    from genetext.priors import GenePriors


def cell_view(
    adata: Any, logs: CellMatrix, priors: "GenePriors | None", view: Any, config: TopicConfig
) -> tuple[NDArray[np.float32] | None, str]:
    """Return the view of the cells, centred and scaled as a whole, and what it is; None where there is none."""
    if view is None or (isinstance(view, str) and view == "prior" and (priors is None or not priors.mask.any())):
        return None, "none"
    if isinstance(view, str) and view == "prior":
        assert priors is not None
        values, source = _prior_view(adata, logs, priors, config), f"{config.view_weighting} of {priors.description}"
    elif isinstance(view, str):
        if view not in adata.obsm:
            raise ModelError(
                f"view={view!r} is no key of obsm: there are {first_ten(list(adata.obsm)) or 'none'}; 'prior' takes "
                f"the cell embedding of the priors"
            )
        values, source = np.asarray(adata.obsm[view], np.float64), f"obsm[{view!r}]"
    else:
        values, source = np.asarray(view, np.float64), "values given"
    if values.ndim != 2 or len(values) != adata.n_obs or not values.shape[1]:
        raise ModelError(
            f"the view {source} has shape {values.shape} for {adata.n_obs:,} cells: one row each is needed"
        )
    known: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=1))
    if source.startswith(("obsm", "values")) and not known.all():
        names = [str(name) for name in adata.obs_names[~known]]
        raise ModelError(f"the view {source} has NaN or infinite values in {len(names):,} cells: {first_ten(names)}")
    # Cells whose genes have no prior stand where the average cell does.
    values = np.where(known[:, None], values - values[known].mean(axis=0), 0)
    spread = float(np.sqrt((values**2).mean()))
    if not spread > 0:
        raise ModelError(f"the view {source} is the same for all cells: pass view=None to fit without one")
    n = config.view_components
    if n is not None and n < values.shape[1]:
        values = values @ PCA.fit(values, n, centred=False).loadings
    return (values / spread).astype(np.float32), source


def _prior_view(adata: Any, logs: CellMatrix, priors: "GenePriors", config: TopicConfig) -> NDArray[np.float64]:
    """Return the cell embedding of the priors; NaN for cells without one."""
    import anndata

    from genetext.cells.job import Job, Options

    # The same expression as the model reads, wherever it was found.
    same = anndata.AnnData(logs.matrix, var=pd.DataFrame(index=adata.var_names))
    options = Options(weighting=config.view_weighting, top_n=config.view_top_n, expression="log")
    vectors = Job.of(same, priors.center(), options).embed().vectors
    if not np.isfinite(vectors).any():
        raise CellsError(f"no cell expresses a gene with a vector in {priors.description}: pass view=None")
    return vectors.astype(np.float64)
