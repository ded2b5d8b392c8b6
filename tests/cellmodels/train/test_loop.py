"""The training loop: the same numbers every time, also after a kill, in several processes, and stopped early."""

import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import lightning_fabric
import numpy as np
import pytest
import torch

from cellmodels import registry
from cellmodels.data.batches import in_order, shuffled, split
from cellmodels.nn.apply import on_device
from cellmodels.train.config import TrainConfig
from cellmodels.train.loop import Trainer
from genetext import manifest
from genetext.errors import ModelError
from genetext.priors import GenePriors
from tests.cellmodels.toy import ToyModel, cells

ROOT = Path(__file__).parents[3]


def weights(model):
    return {name: tensor.numpy().tobytes() for name, tensor in model.module.state_dict().items()}


def same(one, other):
    return weights(one) == weights(other) and one.history.equals(other.history)


# -- mini-batches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "size"), [(60, 16), (17, 16), (16, 16), (5, 16), (33, 4), (1, 4)])
def test_batches_hold_every_cell_once_and_are_about_as_large(n, size):
    batches = shuffled(np.arange(n), size, np.random.default_rng(0))
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(n))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert in_order(np.arange(0), size) == []


def test_a_split_keeps_a_cell_to_train_on_and_depends_on_the_seed():
    train, held = split(10, 0.3, 0)
    assert (len(train), len(held)) == (7, 3)
    assert np.array_equal(np.sort(np.concatenate([train, held])), np.arange(10))
    assert not np.array_equal(held, split(10, 0.3, 1)[1])
    assert [len(part) for part in split(2, 0.9, 0)] == [1, 1]
    assert len(split(10, 0.0, 0)[1]) == 0


WRONG = {
    "lr": 0.0,
    "held_out": 1.0,
    "patience": 0,
    "max_grad_norm": 0.0,
    "seed": -1,
    "optimizer": "sgd",
    "selection": "best",
}
WRONG |= {"batch_size": 0, "weight_decay": -1.0, "lr_step": 0, "lr_gamma": 0.0, "epochs": 0}


@pytest.mark.parametrize(("name", "value"), [*WRONG.items(), ("lr", float("inf"))])
def test_values_that_mean_nothing_are_refused(name, value):
    with pytest.raises(ModelError, match=rf"{name}=.*: it has to be "):
        TrainConfig(**{name: value})


# -- which epoch is kept, and when to stop ---------------------------------------------------------------------------


def test_held_out_cells_are_measured_and_not_trained_on():
    adata = cells()
    model = ToyModel(held_out=0.25).fit(adata)
    assert np.isfinite(model.history["held_out"]).all()
    held = split(60, 0.25, 0)[1]
    changed = adata.copy()
    x = changed.X.toarray()
    x[held] = x[held][:, ::-1]
    changed.X = x
    other = ToyModel(held_out=0.25).fit(changed)
    assert weights(other) == weights(model)
    assert not other.history["held_out"].equals(model.history["held_out"])


def test_selection_by_loss_keeps_the_weights_of_the_epoch_with_the_lowest_held_out_loss():
    # So large a step that the loss goes up and down.
    how = {"lr": 0.5, "held_out": 0.3, "epochs": 8}
    model = ToyModel(selection="loss", **how).fit(cells())
    best = 1 + int(model.history["held_out"].to_numpy().argmin())
    assert best < 8, "the example has to have a best epoch that is not the last"
    assert model.facts["epoch"] == best
    assert len(model.history) == 8
    assert weights(model) == weights(ToyModel(**{**how, "epochs": best}).fit(cells()))
    assert weights(model) != weights(ToyModel(**how).fit(cells()))


def test_patience_stops_when_the_held_out_loss_no_longer_falls():
    model = ToyModel(lr=0.5, held_out=0.3, epochs=60, patience=3).fit(cells())
    held = model.history["held_out"].to_numpy()
    assert model.facts["stopped"] == "patience"
    assert len(held) == 1 + held.argmin() + 3 < 60
    assert ToyModel(epochs=3, patience=3).fit(cells()).facts["stopped"] == "epochs"


def test_the_step_size_falls_as_asked(monkeypatch):
    seen = []
    step = torch.optim.Adam.step

    def note(self, *arguments, **options):
        seen.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", note)
    ToyModel(epochs=5, batch_size=60, lr=0.1, lr_step=2, lr_gamma=0.5).fit(cells())
    assert seen == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
def test_each_optimizer_can_stop_and_go_on(tmp_path, optimizer):
    how = {"optimizer": optimizer, "epochs": 6, "weight_decay": 0.01, "lr": 0.01}
    assert same(interrupted(tmp_path / "c", at=4, **how), ToyModel(**how).fit(cells()))


def test_clipping_bounds_the_step():
    free, clipped = (
        ToyModel(optimizer="rmsprop", epochs=1, max_grad_norm=norm).fit(cells()).module.decode.weight
        for norm in (None, 1e-9)
    )
    start = ToyModel(optimizer="rmsprop", epochs=1, lr=1e-12).fit(cells()).module.decode.weight
    assert (clipped - start).norm() < 0.5 * (free - start).norm()


def test_a_loss_that_is_nan_stops_with_what_to_do_and_leaves_no_model():
    model = ToyModel(lr=1e30, epochs=20)
    with pytest.raises(ModelError, match=r"NaN or infinite in epoch \d+ \(loss, error\): lower lr \(now 1e\+30\)"):
        model.fit(cells())
    assert not model.is_fitted


def test_progress_is_told_after_every_epoch():
    told = []
    ToyModel(epochs=3).fit(cells(), progress=lambda *what: told.append(what))
    assert told == [("epochs", 1, 3), ("epochs", 2, 3), ("epochs", 3, 3)]


@pytest.mark.parametrize(("deterministic", "warn_only"), [(False, False), (True, False), (True, True)])
def test_what_is_of_the_whole_process_is_left_as_it_was(monkeypatch, deterministic, warn_only):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    fabrics, before = logging.getLogger("lightning_fabric"), torch.are_deterministic_algorithms_enabled()
    monkeypatch.setattr(fabrics, "level", logging.INFO)
    threads = torch.get_num_threads()
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    try:
        for model in (ToyModel(epochs=1), ToyModel(epochs=20, lr=1e30)):
            try:
                model.fit(cells())
            except ModelError as error:
                assert "NaN or infinite" in str(error)
            assert torch.are_deterministic_algorithms_enabled() == deterministic
            assert torch.is_deterministic_algorithms_warn_only_enabled() == warn_only
            assert (fabrics.level, torch.get_num_threads()) == (logging.INFO, threads)
            assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    finally:
        torch.use_deterministic_algorithms(before)


def test_a_model_is_back_where_it_was_after_use_elsewhere(monkeypatch):
    model, moves = ToyModel(epochs=1).fit(cells()), []
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: moves.append(str(device)) or self)
    with on_device(model.module, torch.device("cuda")):
        pass
    with pytest.raises(Stop), on_device(model.module, torch.device("cuda")):
        raise Stop
    assert moves == ["cuda", "cpu"] * 2


@pytest.mark.gpu
@pytest.mark.parametrize("entry", registry.BUILT_IN, ids=lambda entry: entry.name)
def test_nothing_stays_on_the_gpu(entry):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    before = torch.cuda.memory_allocated()
    model = entry.load()(epochs=1).fit(cells(), trainer=Trainer(device="cuda"))
    model.embed(cells(seed=3), device="cuda")
    assert {str(tensor.device) for tensor in model.module.state_dict().values()} == {"cpu"}
    assert torch.cuda.memory_allocated() == before


# -- devices --------------------------------------------------------------------------------------------------------


def test_half_precision_is_an_option():
    model = ToyModel().fit(cells(), trainer=Trainer(device="cpu", precision="bf16-mixed"))
    full = ToyModel().fit(cells())
    assert weights(model) != weights(full)
    assert np.allclose(model.history["loss"], full.history["loss"], rtol=0.05)


@pytest.mark.parametrize(
    "wrong", [{"device": "abacus"}, {"strategy": "telepathy"}, {"precision": "3-bit"}, {"device": "cuda"}]
)
def test_what_this_machine_has_not_is_one_error(wrong):
    if wrong.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ModelError, match="cannot train on device="):
        ToyModel().fit(cells(), trainer=Trainer(**wrong))
    with pytest.raises(ModelError, match="one at least"):
        Trainer(devices=0)


# -- checkpoints ----------------------------------------------------------------------------------------------------


class Stop(Exception):
    """Raised in the middle of a fit, as Ctrl-C would be."""


def interrupted(folder, *, at, every=2, **how):
    """Fit, be stopped after epoch `at`, and fit again with the same checkpoints."""

    def stop(name, done, total):
        if done == at:
            raise Stop

    with pytest.raises(Stop):
        ToyModel(**how).fit(cells(), trainer=Trainer(checkpoint_every=every), checkpoints=folder, progress=stop)
    told = []
    model = ToyModel(**how).fit(
        cells(), trainer=Trainer(checkpoint_every=every), checkpoints=folder, progress=lambda *what: told.append(what)
    )
    assert told[0][1] == at // every * every + 1, "epochs that were finished are not trained again"
    return model


@pytest.mark.parametrize("selection", ["last", "loss"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path, selection):
    how = {"epochs": 9, "held_out": 0.2, "lr": 0.3, "selection": selection, "lr_step": 3}
    model = interrupted(tmp_path / "checkpoints", at=5, **how)
    assert same(model, ToyModel(**how).fit(cells()))
    assert same(model, ToyModel(**how).fit(cells(), checkpoints=tmp_path / "checkpoints")), "one that is done is read"


@dataclass(frozen=True, kw_only=True)
class Scaled(Trainer):
    """Half precision whose gradients are scaled, on the CPU, where Fabric by itself takes another kind of it."""

    def fabric(self):
        from lightning_fabric.plugins.precision.amp import MixedPrecision

        plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=7))
        made = lightning_fabric.Fabric(accelerator="cpu", devices=1, plugins=[plugin])
        made.launch()
        return made


def test_how_gradients_are_scaled_is_in_checkpoints(tmp_path):
    how = {"epochs": 6, "max_grad_norm": 1.0}
    trainer = Scaled(precision="16-mixed", checkpoint_every=2)

    def stop(name, done, total):
        if done == 5:
            raise Stop

    with pytest.raises(Stop):
        ToyModel(**how).fit(cells(), trainer=trainer, checkpoints=tmp_path / "c", progress=stop)
    scaling = _manifest(tmp_path / "c")["precision"]
    assert scaling["scale"] > 8, "it has grown"
    gone_on = ToyModel(**how).fit(cells(), trainer=trainer, checkpoints=tmp_path / "c")
    whole = ToyModel(**how).fit(cells(), trainer=trainer, checkpoints=tmp_path / "whole")
    assert same(gone_on, whole)
    assert _manifest(tmp_path / "c")["precision"] == _manifest(tmp_path / "whole")["precision"]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    ToyModel(epochs=2).fit(cells(), checkpoints=tmp_path / "c")
    for other in (
        lambda: ToyModel(epochs=2, lr=0.1).fit(cells(), checkpoints=tmp_path / "c"),
        lambda: ToyModel(epochs=2).fit(cells(seed=1), checkpoints=tmp_path / "c"),
        lambda: ToyModel(epochs=2).fit(cells()[:, ::-1].copy(), checkpoints=tmp_path / "c"),
    ):
        with pytest.raises(ModelError, match="is of another run .*remove it, or choose another folder"):
            other()


def test_a_checkpoint_with_other_gene_vectors_of_the_same_name_is_of_another_run(tmp_path):
    adata = cells()
    one, other = (
        GenePriors.from_arrays(list(adata.var_names), np.random.default_rng(seed).normal(size=(30, 4)), source="mine")
        for seed in (0, 1)
    )
    model = ToyModel(epochs=2).fit(adata, one, checkpoints=tmp_path / "c")
    assert model.facts["fingerprint"] == one.fingerprint
    assert same(ToyModel(epochs=2).fit(adata, one, checkpoints=tmp_path / "c"), model)
    with pytest.raises(ModelError, match="is of another run"):
        ToyModel(epochs=2).fit(adata, other, checkpoints=tmp_path / "c")


def test_a_damaged_checkpoint_and_a_folder_of_something_else_are_refused(tmp_path):
    ToyModel(epochs=2).fit(cells(), checkpoints=tmp_path / "c")
    file = tmp_path / "c" / "module.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(ModelError, match="module.safetensors is not the file .*checkpoint is damaged, remove it"):
        ToyModel(epochs=2).fit(cells(), checkpoints=tmp_path / "c")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ModelError):
        ToyModel(epochs=2).fit(cells(), checkpoints=tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_a_checkpoint_holds_no_pickle_and_is_listed_whole(tmp_path):
    ToyModel(epochs=2, selection="loss").fit(cells(), checkpoints=tmp_path / "c")
    there = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert there == ["best.safetensors", "manifest.json", "module.safetensors", "optimizer.safetensors"]
    assert manifest.verify(tmp_path / "c", _manifest(tmp_path / "c")) == []


def _manifest(folder):
    from cellmodels.train import checkpoint

    return manifest.read(folder, format=checkpoint.FORMAT, format_version=checkpoint.FORMAT_VERSION, error=ModelError)


# -- processes ------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from cellmodels.train.loop import Trainer
from tests.cellmodels.toy import ToyModel
from tests.cellmodels.train.test_loop import KILLED_HOW, cells

def report(name, done, total):
    if done == 5:
        os.kill(os.getpid(), signal.SIGKILL)

ToyModel(**KILLED_HOW).fit(
    cells(), trainer=Trainer(device="cpu", checkpoint_every=2), checkpoints=sys.argv[1], progress=report
)
"""
KILLED_HOW = {"epochs": 8, "selection": "loss", "held_out": 0.2}


def run(code, place, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = place / "script.py"
    script.write_text(code)
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=300
    )


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_bytes(tmp_path):
    killed = run(KILLED, tmp_path, tmp_path / "c")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert _manifest(tmp_path / "c")["epoch"] == 4
    told = []
    model = ToyModel(**KILLED_HOW)
    model.fit(cells(), checkpoints=tmp_path / "c", progress=lambda *what: told.append(what[1]))
    assert told == [5, 6, 7, 8]
    model.save(tmp_path / "model")
    ToyModel(**KILLED_HOW).fit(cells()).save(tmp_path / "whole")
    assert files(tmp_path / "model") == files(tmp_path / "whole")


def test_a_checkpoint_of_other_true_labels_or_another_precision_is_of_another_run(tmp_path):
    data, folder = cells(), tmp_path / "checkpoint"
    labels = [f"g{i % 2}" for i in range(data.n_obs)]
    ToyModel(epochs=2, selection="oracle").fit(data, oracle="group", trainer=Trainer(device="cpu"), checkpoints=folder)
    with pytest.raises(ModelError, match="another run"):
        ToyModel(epochs=2, selection="oracle").fit(
            data, oracle=labels, trainer=Trainer(device="cpu"), checkpoints=folder
        )
    half = Trainer(device="cpu", precision="bf16-mixed")
    with pytest.raises(ModelError, match="another run"):
        ToyModel(epochs=2, selection="oracle").fit(data, oracle="group", trainer=half, checkpoints=folder)
