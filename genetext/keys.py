"""Where genetext writes in an AnnData: one class makes every key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genetext.errors import CellsError


@dataclass(frozen=True)
class Keys:
    """The AnnData keys that belong to one name.

    Attributes
    ----------
    base
        The name, `key_added=` of the functions that write. Two priors in one AnnData have two names.

    Examples
    --------
    >>> Keys().status, Keys().cells
    ('genetext_status', 'X_genetext')
    """

    base: str = "genetext"

    def __post_init__(self) -> None:
        if not self.base or "/" in self.base or self.base == "_index":
            raise CellsError(
                f"{self.base!r} cannot name a key in an AnnData file, being empty, with a slash or reserved: choose "
                f"another word for key_added"
            )

    @property
    def vectors(self) -> str:
        """`varm`: gene vectors `(n_vars, dim) float32`, aligned to `var`."""
        return self.base

    @property
    def gene_id(self) -> str:
        """`var`: NCBI GeneID, null where a name was not resolved."""
        return f"{self.base}_id"

    @property
    def status(self) -> str:
        """`var`: how each name was resolved, or why it has no vector."""
        return f"{self.base}_status"

    @property
    def cells(self) -> str:
        """`obsm`: cell vectors `(n_obs, dim) float32`."""
        return f"X_{self.base}"

    @property
    def cell_status(self) -> str:
        """`obs`: which cells have no matched gene, and so no vector."""
        return f"{self.base}_status"

    @property
    def uns(self) -> str:
        """`uns`: plain JSON on what was done, one entry for each function that wrote."""
        return self.base

    @staticmethod
    def model(name: str) -> str:
        """`obsm`: embedding of a model, for example `X_topic`."""
        return f"X_{name}"

    def record(self, adata: Any, part: str, facts: Mapping[str, Any]) -> None:
        """Set `uns[base][part]`, leaving what other functions recorded there.

        Parameters
        ----------
        adata
            The AnnData to write to.
        part
            Who writes: `priors`, `cells`, or a model's name.
        facts
            JSON values that an h5ad file can hold: no None, lists of one type only.
        """
        records = adata.uns.get(self.uns)
        adata.uns[self.uns] = {**(records if isinstance(records, Mapping) else {}), part: dict(facts)}

    def recorded(self, adata: Any, part: str) -> dict[str, Any]:
        """Return `uns[base][part]` as plain Python values (a file gives lists back as arrays); empty if absent."""
        records = adata.uns.get(self.uns)
        facts = records.get(part) if isinstance(records, Mapping) else None
        return {key: _plain(value) for key, value in facts.items()} if isinstance(facts, Mapping) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value
