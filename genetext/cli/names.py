"""How commands are told to read names of genes: the same options, in the same words, for every command that does."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

_HINTS: dict[str, tuple[Any, Any]] = {
    "species": (
        str | None,
        typer.Option("--species", "-s", help="Species of the data. Default: guessed from the names, and said."),
    ),
    "column": (
        str | None,
        typer.Option("--column", help="The column of var that has the names, or var_names. Default: the best one."),
    ),
    "min_match": (
        float | None,
        typer.Option("--min-match", min=0, max=1, help="Fail if a smaller share of the genes is matched."),
    ),
    "made_unique": (
        bool,
        typer.Option("--made-unique", help="Count GENE-1, as AnnData writes a name that stands twice, as GENE."),
    ),
    "r_names": (bool, typer.Option("--r-names", help="Count HLA.A, as R writes HLA-A, as that gene.")),
}
_OPTIONS = [
    inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if hint is bool else None,
        annotation=Annotated[hint, option],
    )
    for name, (hint, option) in _HINTS.items()
]
Orthologs = Annotated[
    bool, typer.Option("--orthologs/--no-orthologs", help="Let other species go through one-to-one orthologs.")
]


def takes_names(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above in place of its parameter `names`, and pass it a `NameOptions` of them."""

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        from genetext.names import NameOptions

        given = {name: values.pop(name) for name in _HINTS}
        command(**values, names=NameOptions(**given))

    signature = inspect.signature(command)
    parameters = [
        parameter
        for named in signature.parameters.values()
        for parameter in (_OPTIONS if named.name == "names" else [named])
    ]
    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options
