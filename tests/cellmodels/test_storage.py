"""Models on disk: whole or not at all, checked, without pickle, and the same in a fresh process."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cellmodels import load_model, register, registry
from genetext import manifest
from genetext.errors import ModelError
from tests.cellmodels.toy import ToyModel, cells

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model():
    return ToyModel(epochs=2, max_grad_norm=1.0).fit(cells())


def test_what_was_saved_is_what_was_fitted(tmp_path, model):
    adata = cells()
    assert model.save(tmp_path / "m") == tmp_path / "m"
    there = ToyModel.load(tmp_path / "m")
    assert np.array_equal(there.embed(adata), model.embed(adata))
    assert there.config == model.config
    assert there.history.equals(model.history)
    assert there.history.dtypes.equals(model.history.dtypes)
    assert there.facts == model.facts
    assert there.genes.names.tolist() == model.genes.names.tolist()
    assert not there.module.training
    assert there.summary() == model.summary()


def test_the_same_model_is_the_same_bytes(tmp_path, model):
    for name in ("one", "two"):
        model.save(tmp_path / name)
    assert {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "two").iterdir()
    }


def test_any_kind_is_read_by_its_name(tmp_path, model, monkeypatch):
    model.save(tmp_path / "m")
    with pytest.raises(
        ModelError, match=r"holds a model 'toy' of the class tests.*toy:ToyModel, which is not known here"
    ):
        load_model(tmp_path / "m")
    monkeypatch.setattr(registry, "_REGISTERED", {})
    assert register(ToyModel) is ToyModel
    assert isinstance(load_model(tmp_path / "m"), ToyModel)


def test_another_class_does_not_read_it(tmp_path, model):
    class OtherModel(ToyModel):
        pass

    model.save(tmp_path / "m")
    with pytest.raises(ModelError, match=r"holds a model 'toy' of the class .*:ToyModel, not .*OtherModel"):
        OtherModel.load(tmp_path / "m")


def test_there_is_no_pickle_and_nothing_that_the_manifest_does_not_list(tmp_path, model):
    model.save(tmp_path / "m")
    listed = json.loads((tmp_path / "m" / "manifest.json").read_text())["files"]
    there = {path.name for path in (tmp_path / "m").iterdir()}
    assert there == {*listed, "manifest.json"}
    assert {Path(name).suffix for name in there} == {".safetensors", ".json", ".parquet"}
    assert not any(path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x04", b"PK") for path in (tmp_path / "m").iterdir())


@pytest.mark.parametrize("name", ["weights.safetensors", "arrays.safetensors", "genes.parquet", "history.json"])
def test_a_file_that_was_changed_or_lost_is_found_out(tmp_path, model, name):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(
        ModelError, match=rf"{name} is not the file that the manifest was written for|{name} has sha256"
    ):
        ToyModel.load(tmp_path / "m")
    path.write_bytes(bytes(data[:-1]))
    with pytest.raises(ModelError, match=f"{name} has .* bytes, the manifest says"):
        ToyModel.load(tmp_path / "m")
    path.unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        ToyModel.load(tmp_path / "m")


def test_another_format_version_is_refused_with_both_numbers(tmp_path, model):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(ModelError, match="has format version 99, this genetext reads version 2"):
        ToyModel.load(tmp_path / "m")


def forge(path, value):
    """Write a manifest with the digest that belongs to it, as somebody would who wants to be believed."""
    path.write_text(json.dumps(manifest.signed(value)))


def test_a_configuration_of_another_version_is_an_error_that_names_the_folder(tmp_path, model):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "manifest.json"
    there = json.loads(path.read_text())
    path.write_text(json.dumps({**there, "config": {**there["config"], "temperature": 1}}))
    with pytest.raises(ModelError, match="manifest.json was changed after it was written"):
        ToyModel.load(tmp_path / "m")
    forge(path, {**there, "config": {**there["config"], "temperature": 1}})
    with pytest.raises(ModelError, match="m was written by another version.*no hyper-parameter temperature"):
        ToyModel.load(tmp_path / "m")
    forge(path, {**there, "config": {**there["config"], "n_latent": 7}})
    with pytest.raises(ModelError, match="what is stored in .*m does not fit ToyModel"):
        ToyModel.load(tmp_path / "m")
    forge(path, {key: value for key, value in there.items() if key != "facts"})
    with pytest.raises(ModelError, match=r"manifest.json lacks facts"):
        ToyModel.load(tmp_path / "m")


def test_folders_of_something_else_are_neither_read_nor_replaced(tmp_path, model):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for name, message in (("mine", "is there already and is no genetext-cellmodel"), ("file", "is a file: name")):
        with pytest.raises(ModelError, match=message):
            model.save(tmp_path / name)
    with pytest.raises(ModelError, match="is not a genetext-cellmodel: it has no manifest.json"):
        ToyModel.load(tmp_path / "mine")
    with pytest.raises(ModelError, match="nothing"):
        ToyModel.load(tmp_path / "nothing")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "keep"


def test_saving_again_replaces_the_model_and_a_save_that_fails_leaves_the_old_one(tmp_path, model, monkeypatch):
    model.save(tmp_path / "m")
    other = ToyModel(epochs=1, n_latent=2).fit(cells())
    other.save(tmp_path / "m")
    assert ToyModel.load(tmp_path / "m").config.n_latent == 2

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    from genetext import disk

    monkeypatch.setattr(disk, "write_json", full)
    with pytest.raises(Exception, match="no space is left"):
        model.save(tmp_path / "m")
    monkeypatch.undo()
    assert ToyModel.load(tmp_path / "m").config.n_latent == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("m")] == ["m"]


def test_a_model_that_is_replaced_while_it_is_read_is_the_old_or_the_new_one(tmp_path):
    models = [ToyModel(epochs=epochs).fit(cells()) for epochs in (1, 2)]
    models[0].save(tmp_path / "model")
    ended = threading.Event()

    def replace():
        for turn in range(20):
            models[turn % 2].save(tmp_path / "model")
        ended.set()

    with ThreadPoolExecutor(1) as others:
        replaced = others.submit(replace)
        lengths = []
        while not ended.is_set():
            lengths.append(len(ToyModel.load(tmp_path / "model").history))
            if replaced.done():
                break
        replaced.result()
    assert set(lengths) <= {1, 2}
    assert lengths
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
