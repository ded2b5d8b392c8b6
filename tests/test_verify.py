"""Models, checkpoints and priors are verified as indices are."""

import json
import shutil

import numpy as np
import torch

from cellmodels import storage
from cellmodels.train import checkpoint
from genetext import cache, manifest, verify
from genetext.build import build
from genetext.priors import GenePriors
from tests.cellmodels.toy import ToyModel, cells
from tests.factory import write_ncbi


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


def test_an_index_is_opened_as_its_reader_does_and_holds_no_other_files(tmp_path):
    root = tmp_path / "cache"
    build("human", encoder="lexical", source=str(write_ncbi(tmp_path / "ncbi")), root=root)
    whole, odd, long = (root / "indices" / "human" / name for name in ("lexical", "odd", "long"))
    for path in (odd, long):
        shutil.copytree(whole, path)
    assert verify.verify_one(whole) == []
    (whole / "thesis.txt").write_text("years of work")
    assert verify.verify_one(whole) == [f"{whole / 'thesis.txt'} is in no manifest"]
    (whole / "thesis.txt").unlink()
    recorded = json.loads((odd / "manifest.json").read_text())
    (odd / "manifest.json").write_text(json.dumps(manifest.signed(recorded | {"files": {}})))
    assert any("is in no manifest" in problem for problem in verify.verify_one(odd))
    changed = manifest.signed(recorded | {"embedding_fingerprint": "x"})
    (odd / "manifest.json").write_text(json.dumps(changed))
    (problem,) = verify.verify_one(odd)
    assert "holds what genetext never writes" in problem
    entry = {"sha256": "0" * 64, "size": 1}
    forged = manifest.signed(recorded | {"files": {"a" * 5000: entry}})
    (long / "manifest.json").write_text(json.dumps(forged))
    (problem,) = verify.verify_one(long)
    assert "cannot be read: File name too long" in problem
    kinds = sorted(entry.kind for entry in cache.entries(root=root))
    assert kinds.count("damaged index") == 2
    assert kinds.count("index") == 1
