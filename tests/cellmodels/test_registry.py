"""A model of another distribution, or of a program, is fitted, saved, loaded, applied and measured like those here."""

import json
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest

from cellmodels import CellModel, ModelEntry, load_model, register, registry
from genetext import manifest
from genetext.cli import bench_cells, fit
from genetext.errors import ModelError
from tests.cellmodels import toy
from tests.cli.run import run_alone

ROOT = Path(__file__).parents[2]
FOURTH = """
class FourthModel(ToyModel):
    \"\"\"Learn cells by a linear autoencoder.\"\"\"

    name = "fourth"

    def fit(self, adata, priors=None, *, labels=None, **options):
        super().fit(adata, priors, **options)
        self.facts["labels"] = "none" if labels is None else str(labels)
        return self
"""
ENTRY = """
from cellmodels.registry import FitOption, ModelEntry

MODEL = ModelEntry(
    "fourth",
    "fourthmodel.model:FourthModel",
    "Learn cells by a linear autoencoder.",
    options=(FitOption("labels", "Column of obs to learn from.", short="-l", nullable=True),),
    quick={"epochs": 2},
)
"""


@pytest.fixture
def fourth(tmp_path, monkeypatch):
    """A distribution with a fourth model, installed; its folder."""
    place = tmp_path / "site"
    package, info = place / "fourthmodel", place / "fourthmodel-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text(ENTRY)
    (package / "model.py").write_text(Path(toy.__file__).read_text() + FOURTH)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fourthmodel\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nfourth = fourthmodel:MODEL\n")
    monkeypatch.syspath_prepend(place)
    yield place
    for name in [name for name in sys.modules if name.partition(".")[0] == "fourthmodel"]:
        del sys.modules[name]


@pytest.fixture
def h5ad(tmp_path):
    toy.cells(80, 40).write_h5ad(tmp_path / "in.h5ad")
    return tmp_path / "in.h5ad"


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})


def test_a_model_of_another_distribution_is_fitted_saved_loaded_applied_and_measured(tmp_path, fourth, h5ad):
    out, made = tmp_path / "out.h5ad", tmp_path / "applied.h5ad"
    status, printed, err = run_alone(fit.register, "fit", "--help")
    assert (status, "fourth" in printed, "linear autoencoder" in printed) == (0, True, True), err
    assert "fourthmodel.model" not in sys.modules, "help loads no model"
    asked = ["fit", "fourth", h5ad, "-o", out, "--epochs", 3, "--labels", "group", "-k", 3]
    status, printed, err = run_alone(fit.register, *asked, "--set", "n_latent=2")
    assert (status, printed) == (0, f"{out}\n"), err
    assert anndata.read_h5ad(out).obsm["X_fourth"].shape == (80, 2)
    model = load_model(tmp_path / "out.fourth")
    assert (type(model).__name__, model.facts["labels"], model.config.epochs) == ("FourthModel", "group", 3)
    status, _, err = run_alone(fit.register, "apply", tmp_path / "out.fourth", h5ad, "-o", made)
    assert status == 0, err
    assert np.array_equal(anndata.read_h5ad(made).obsm["X_fourth"], model.embed(anndata.read_h5ad(h5ad)))
    assert run_alone(fit.register, "fit", "fourth", "--show-config")[1].startswith("name\ttype\tdefault\tsmall\n")

    def registered(app):
        bench_cells.register(app)
        app.command("other")(lambda: None)  # with one command alone Typer would leave its name out

    asked = ["cells", h5ad, "-l", "group", "--models", "fourth,fourth-labels", "--quick", "--m", "1", "-j", "1"]
    status, printed, err = run_alone(registered, *asked, "--seeds", 1, "--set", "fourth.n_latent=3", "--json", "-q")
    assert status == 0, err
    assert set(json.loads(printed)["models"]) == {"fourth", "fourth-labels"}
    assert json.loads(printed)["models"]["fourth"]["n_latent"] == 3


def test_what_another_distribution_offers_badly_is_left_out_and_said(fourth, caplog):
    points = fourth / "fourthmodel-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"[{registry.GROUP}]\na = nowhere:MODEL\nb = fourthmodel:nothing\nc = pathlib:Path\n")
    assert [*registry.models()] == ["contrastive", "topic", "refinement"]
    assert caplog.text.count("is left out") == 3
    sys.modules.pop("fourthmodel", None)
    (fourth / "fourthmodel" / "__init__.py").write_text(ENTRY.replace('"fourth",', '"topic",'))
    points.write_text(f"[{registry.GROUP}]\nfourth = fourthmodel:MODEL\n")
    assert registry.find("topic").target == "cellmodels.topic:TopicModel"
    assert "has the name 'topic' already" in caplog.text


def test_a_class_of_a_program_is_loaded_once_it_is_registered(tmp_path):
    """A class that another program defined is not known by its folder alone, and known once it is registered."""
    toy.ToyModel(epochs=1).fit(toy.cells()).save(tmp_path / "m")
    with pytest.raises(ModelError, match="cellmodels.register"):
        load_model(tmp_path / "m")
    assert register(toy.ToyModel) is toy.ToyModel
    assert register(toy.ToyModel) is toy.ToyModel, "a cell of a notebook that runs again"
    assert isinstance(load_model(tmp_path / "m"), toy.ToyModel)

    class Other(toy.ToyModel):
        pass

    with pytest.raises(ModelError, match="there is a model 'toy' already"):
        register(Other)
    Other.name = "topic"
    with pytest.raises(ModelError, match="there is a model 'topic' already, cellmodels.topic:TopicModel"):
        register(Other)


def test_a_folder_cannot_have_code_imported(tmp_path):
    """What a manifest names is looked up by name among known models; it is never imported."""
    toy.ToyModel(epochs=1).fit(toy.cells()).save(tmp_path / "m")
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\n")
    path = tmp_path / "m" / "manifest.json"
    forged = json.loads(path.read_text().replace("tests.cellmodels.toy:ToyModel", "trap:ToyModel"))
    path.write_text(json.dumps(manifest.signed(forged)))
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from cellmodels import load_model\n"
        "try:\n    load_model(sys.argv[1])\nexcept ValueError as error:\n    print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m"), str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert (ran.returncode, "not known here" in ran.stdout) == (0, True), ran.stderr


@pytest.mark.parametrize("entry", registry.BUILT_IN, ids=lambda entry: entry.name)
def test_entries_say_what_the_classes_are(entry):
    model = entry.load()
    assert issubclass(model, CellModel)
    assert model(**entry.quick).config.seed == 0
    with pytest.raises(ModelError, match="is no CellModel with the name"):
        ModelEntry("other", entry.target).load()
    with pytest.raises(ModelError, match="cannot be loaded from"):
        ModelEntry("other", "cellmodels.nowhere:Other").load()
