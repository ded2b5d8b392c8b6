"""Models, checkpoints and priors are verified as indices are."""

import numpy as np
import torch

from cellmodels import storage
from cellmodels.train import checkpoint
from genetext import verify
from genetext.priors import GenePriors
from tests.cellmodels.toy import ToyModel, cells


def test_the_versions_are_those_that_are_written():
    for module in (storage, checkpoint):
        assert verify.VERSIONS[module.FORMAT] == module.FORMAT_VERSION


def test_models_checkpoints_and_priors_are_verified(tmp_path):
    ToyModel(epochs=1).fit(cells()).save(tmp_path / "model")
    checkpoint.write(tmp_path / "state", {"module": {"weight": torch.rand(9, 9)}}, {"identity": "x"})
    GenePriors.from_arrays(["A", "B"], np.eye(2, dtype=np.float32)).save(tmp_path / "p.safetensors")
    targets = [tmp_path / name for name in ("model", "state", "p.safetensors")]
    assert verify.verify(targets) == (3, [])
    for file in ("model/weights.safetensors", "state/module.safetensors", "p.safetensors"):
        content = bytearray((tmp_path / file).read_bytes())
        content[-1] ^= 1
        (tmp_path / file).write_bytes(content)
    _, problems = verify.verify(targets)
    assert len(problems) == 3
    assert all(str(target) in problem for target, problem in zip(targets, problems, strict=True))
