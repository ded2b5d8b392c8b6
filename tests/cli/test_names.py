"""Every command that reads names of genes is told how in the same words."""

import inspect

import pytest
from typer.main import get_command

from cellmodels import registry
from genetext.cli import app
from genetext.cli.names import takes_names
from genetext.names import NameOptions

VERBS = ("match", "priors", "embed-cells", "annotate", "bench cells", *(f"fit {name}" for name in registry.models()))
OPTIONS = ("species", "column", "min_match", "made_unique", "r_names")


def _parameters(verb):
    command = get_command(app)
    for word in verb.split():
        command = command.commands[word]
    return {parameter.name: parameter for parameter in command.params}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_the_same_options(verb):
    same, these = _parameters("match"), _parameters(verb)
    for name in OPTIONS:
        assert (these[name].opts, these[name].help) == (same[name].opts, same[name].help)
    assert "names" not in these
    assert ("orthologs" in these) == (verb != "match")


def test_a_command_is_passed_one_set_of_options():
    passed = []

    @takes_names
    def command(data: str, *, names: NameOptions, quiet: bool = False) -> None:
        passed.append((data, names, quiet))

    assert list(inspect.signature(command).parameters) == ["data", *OPTIONS, "quiet"]
    given = {"species": "human", "column": None, "min_match": 0.5, "made_unique": True, "r_names": False}
    command(data="x", quiet=True, **given)
    assert passed == [("x", NameOptions(**given), True)]
    assert passed[0][1].keywords() == {"species": "human", "min_match": 0.5, "made_unique": True}
    assert NameOptions().keywords() == {}
