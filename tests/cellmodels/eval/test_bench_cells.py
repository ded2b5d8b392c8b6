"""Whether gene text helps on somebody's cells: the verdict is right where the answer is known."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellmodels.eval.bench import CellsBenchmark, Protocol, bench_cells
from cellmodels.eval.bench.embeddings import Known, embed, fingerprint, prior_of
from cellmodels.eval.bench.grouping import grouping
from cellmodels.eval.bench.labelling import labelling
from cellmodels.eval.bench.protocol import Arm
from cellmodels.eval.bench.task import Truth
from genetext.errors import BenchError, CellsError, DiskError, ModelError
from genetext.labels import labels_of
from tests.cellmodels.planted import GuidedModel, faint_cells, ignorant, knowing

FEW = Protocol(m=(2, 5, 10), seeds=4, permutations=4, found_clusters=False)
ONE = Protocol(m=(2,), seeds=1, permutations=1, found_clusters=False)


def guided(seed):
    return GuidedModel(seed=seed)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    adata = faint_cells()
    root = tmp_path_factory.mktemp("planted")
    return bench_cells(adata, "cell_type", priors=knowing(adata), models={"guided": guided}, protocol=FEW, root=root)


# -- the verdict ----------------------------------------------------------------------------------------------------


def test_a_prior_that_knows_the_programs_is_found_to_help(planted):
    claims = planted.claims.set_index(["method", "task"])
    assert (claims["verdict"] == "helps").all()
    assert set(claims.index) == {(m, t) for m in ("priors", "guided") for t in ("labelling", "grouping")}
    assert (claims["over_none"] > 0.1).all()
    assert (claims["over_permuted"] > 0.1).all()
    told = planted.verdict()
    assert "On these cells the text helps: priors (labelling), priors (grouping), guided (labelling)" in told
    assert "At 5 cells per type it adds +0." in told


@pytest.mark.parametrize("groups", [None, "donor"])
def test_a_prior_of_noise_is_found_not_to_help(tmp_path, groups):
    adata = faint_cells()
    found = bench_cells(
        adata,
        "cell_type",
        priors=ignorant(adata),
        models={"guided": guided},
        groups=groups,
        protocol=replace(FEW, seeds=3, permutations=3, m=(2, 5)),
        root=tmp_path,
    )
    assert not (found.claims["verdict"] == "helps").any()
    assert "On these cells no benefit of the text is shown." in found.verdict()
    assert "The text helps" not in found.verdict()


def test_noise_is_not_found_to_help_however_often_one_asks():
    """Scores without any effect: at most one set of claims in twenty may say otherwise."""
    rng = np.random.default_rng(0)
    wrong = sum((made_up(rng, 0.0, seeds=5).claims["verdict"] == "helps").any() for _ in range(60))
    assert wrong <= 3


def test_an_effect_that_any_vectors_have_is_not_owed_to_the_text():
    rng = np.random.default_rng(1)
    found = made_up(rng, 0.0, of_any=0.3)
    assert set(found.claims["verdict"]) == {"any vectors help"}
    assert "Vectors help, but not which gene has which text." in found.verdict()
    assert set(made_up(rng, 0.3).claims["verdict"]) == {"helps"}
    unsure = made_up(rng, 0.1)
    permuted = unsure.scores["control"] == "permuted"
    unsure.scores.loc[permuted, "value"] += np.where(unsure.scores.loc[permuted, "seed"] % 2, 0.4, -0.2)
    found = CellsBenchmark(unsure.scores, unsure.about)
    assert set(found.claims["verdict"]) == {"not shown"}
    assert "it is better than no prior, and cannot be told from permuted priors." in found.verdict()
    rng = np.random.default_rng(4)
    assert set(made_up(rng, -0.3).claims["verdict"]) == {"harms"}
    assert set(made_up(rng, 0.3, seeds=1).claims["verdict"]) == {"one seed"}
    assert "One seed tells nothing about chance" in made_up(rng, 0.3, seeds=1).verdict()


def test_what_is_beyond_chance_alone_is_not_once_corrected_for_the_number_of_claims():
    rng = np.random.default_rng(3)
    many = made_up(rng, 0.0, methods=("a", "b", "c", "d", "e"), seeds=5)
    scores = many.scores
    lucky = (scores["method"] == "a") & (scores["control"] == "prior") & (scores["measure"] == "ari")
    base = (scores["method"] == "a") & (scores["measure"] == "ari")
    # Differences of 1, 2, 3, 4, 5 hundredths: p = 0.013 alone, and ten times that beside nine other claims.
    scores.loc[base, "value"] = 0.5
    scores.loc[lucky, "value"] = 0.5 + 0.01 * (1 + scores.loc[lucky, "seed"])
    found = CellsBenchmark(scores, many.about)
    row = found.claims.set_index(["method", "task"]).loc[("a", "grouping")]
    assert row["p"] == pytest.approx(0.0132, abs=1e-3)
    assert row["p_holm"] > 0.05
    assert row["verdict"] == "not shown"
    assert "once corrected for the number of claims" in found.verdict()


def test_a_sure_loss_does_not_make_it_easier_to_claim_a_benefit():
    def claimed(effect):
        rng = np.random.default_rng(5)
        found = made_up(rng, 0.0, methods=("a", "b"), seeds=5)
        scores = found.scores
        own = scores["method"] == "a"
        scores.loc[own, "value"] = 0.5
        scores.loc[own & (scores["control"] == "prior"), "value"] += 0.01 * (1 + scores["seed"])
        other = (scores["method"] == "b") & (scores["control"] == "prior")
        scores.loc[other, "value"] += effect
        return CellsBenchmark(scores, found.about).claims.set_index(["method", "task"])

    for lost in (0.0, -0.5):
        claims = claimed(lost)
        assert claims.loc[("a", "labelling"), "p"] == pytest.approx(0.0132, abs=1e-3)
        assert claims.loc[("a", "labelling"), "p_holm"] == pytest.approx(4 * 0.0132, abs=4e-3)
    assert (claims.loc["b", "p"] == 1).all()
    assert (claims.loc["b", "verdict"] == "harms").all()


def made_up(rng, effect, *, of_any=0.0, seeds=6, methods=("topic",), m=(2, 5)):
    rows = []
    for method in methods:
        for seed in range(seeds):
            luck = rng.normal(0.5, 0.1)  # of the seed: shared by all, and gone in paired differences
            for control, gain in (("prior", effect + of_any), ("permuted", of_any), ("random", of_any), ("none", 0.0)):
                for measure, at in [("macro_f1", str(one)) for one in m] + [("ari", "K given")]:
                    rows.append((method, control, seed, 0, measure, at, luck + gain + rng.normal(0, 0.02)))
    columns = ["method", "control", "seed", "draw", "measure", "at", "value"]
    about = {"protocol": {"m": list(m), "seeds": seeds}}
    return CellsBenchmark(pd.DataFrame(rows, columns=columns), about)


def test_intervals_are_students_t_of_paired_differences():
    from scipy import stats

    found = made_up(np.random.default_rng(2), 0.1, seeds=5)
    scores = found.scores[found.scores["measure"] == "ari"].pivot_table(index="seed", columns="control", values="value")
    row = found.gain("topic", "ari", "K given", "permuted")
    gained = scores["prior"] - scores["permuted"]
    expected = stats.ttest_1samp(gained, 0)
    low, high = expected.confidence_interval(0.95)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((gained.mean(), low, high))
    assert row["p"] == pytest.approx(expected.pvalue)
    assert row["n_seeds"] == 5


def test_draws_of_one_seed_are_averaged_before_seeds_are_compared():
    found = made_up(np.random.default_rng(2), 0.1, seeds=4)
    again = found.scores[found.scores["control"] == "permuted"].assign(draw=1, value=lambda frame: frame["value"] + 0.2)
    double = CellsBenchmark(pd.concat([found.scores, again]), found.about)
    one, two = (f.gain("topic", "ari", "K given", "permuted") for f in (found, double))
    assert two["n_seeds"] == 4
    assert two["difference"] == pytest.approx(one["difference"] - 0.1)


# -- tables ---------------------------------------------------------------------------------------------------------


def test_every_method_is_there_with_every_control(planted):
    table = planted.to_frame()
    assert {(row.method, row.control) for row in table.itertuples()} == {
        ("expression", "none"),
        *(("priors", control) for control in ("prior", "permuted", "random")),
        *(("guided", control) for control in ("prior", "permuted", "random", "none")),
    }
    own = table[table["method"] == "guided"]
    assert set(own.loc[own["measure"] == "macro_f1", "at"]) == {"2", "5", "10", "mean"}
    assert set(own.loc[own["at"] == "K given", "measure"]) == {"ari", "nmi", "ami", "n_clusters"}
    assert (table["n_seeds"] == 4).all()
    assert (table["low"] <= table["mean"]).all()
    assert (table.loc[table["measure"] == "n_clusters", "mean"] == 4).all()


def test_everything_is_there_as_json_and_tsv(planted):
    told = json.loads(json.dumps(planted.to_json()))
    assert told["n_types"] == 4
    assert told["models"]["guided"]["n_latent"] == 8
    assert len(told["scores"]) == len(planted.scores) == len(planted.to_tsv().splitlines()) - 1
    assert told["verdict"] == planted.verdict()
    assert "240 cells, 4 types of cell_type; 4 seeds, prior planted" in str(planted)


def test_permutations_are_dealt_out_and_each_seed_has_one():
    arms = list(Protocol(seeds=3, permutations=7).arms(["topic"], prior=True))
    draws = {
        seed: [a.draw for a in arms if (a.method, a.control, a.seed) == ("topic", "permuted", seed)]
        for seed in range(3)
    }
    assert draws == {0: [0, 3, 6], 1: [1, 4], 2: [2, 5]}
    few = list(Protocol(seeds=3, permutations=1).arms(["topic"], prior=True))
    assert sum(arm.control == "permuted" and arm.method == "topic" for arm in few) == 3
    assert [str(a) for a in Protocol(seeds=1).arms(["topic"], prior=False)] == [
        "expression, none, seed 0",
        "topic, none, seed 0",
    ]


def test_controls_are_of_the_genes_of_the_data():
    adata = faint_cells(30)
    priors = knowing(adata)
    shuffled = prior_of(Arm("topic", "permuted", 0, 3), priors)
    assert not np.array_equal(shuffled.vectors, priors.vectors)
    assert np.array_equal(np.sort(shuffled.vectors, axis=0), np.sort(priors.vectors, axis=0))
    assert prior_of(Arm("topic", "none", 0), priors).dim == 0
    assert prior_of(Arm("topic", "prior", 0), priors) is priors


# -- protocol -------------------------------------------------------------------------------------------------------


def test_with_groups_nothing_of_the_group_held_out_is_fitted_to_or_scored_with():
    adata = faint_cells(120)
    truth = Truth(labels_of(adata, "cell_type"), adata.obs["donor"].astype(str).to_numpy(object))
    held = set()
    for seed in range(4):
        fitted, tested = truth.fitted_on(FEW, seed), truth.tested(FEW, seed)
        donors = set(truth.groups[tested])
        assert len(donors) == 1
        assert donors.isdisjoint(truth.groups[fitted])
        held |= donors
    assert held == {"d0", "d1", "d2", "d3"}
    # A change of the held-out cells changes nothing of how the others are embedded.
    fitted = truth.fitted_on(FEW, 0)
    other = adata.copy()
    x = other.X.toarray()
    x[truth.groups == truth.groups[truth.tested(FEW, 0)[0]]] = 1
    other.X = x
    for arm in (Arm("expression", "none", 0), Arm("priors", "prior", 0), Arm("guided", "prior", 0)):
        made = [embed(arm, one, fitted, knowing(adata), guided, device="cpu")[fitted] for one in (adata, other)]
        assert np.allclose(*made, atol=1e-5)


def test_scores_are_of_the_embedding_given():
    adata = faint_cells(200)
    truth = Truth(labels_of(adata, "cell_type"))
    perfect = np.eye(4)[adata.obs["cell_type"].cat.codes] + np.random.default_rng(0).normal(0, 0.01, (200, 4))
    found = {(measure, at): value for measure, at, value in grouping(perfect, truth, Protocol(), 0)}
    assert found["ari", "K given"] == pytest.approx(1)
    assert found["ari", "K found"] == pytest.approx(1)
    assert found["n_clusters", "K found"] == 4
    assert all(value == pytest.approx(1) for _, _, value in labelling(perfect, truth, FEW, 0))
    noise = np.random.default_rng(0).normal(size=(200, 4))
    assert all(value < 0.6 for _, _, value in labelling(noise, truth, FEW, 0))


def test_cells_without_a_label_are_fitted_to_and_not_scored(tmp_path):
    adata = faint_cells(80)
    adata.obs["some"] = adata.obs["cell_type"].astype(object).where(np.arange(80) < 60)
    found = bench_cells(adata, "some", models={}, protocol=ONE, root=tmp_path)
    assert (found.about["n_cells"], found.about["n_labelled"]) == (80, 60)
    assert "nothing to say" in found.verdict()


def test_the_real_models_by_name_also_with_labels(tmp_path):
    adata = faint_cells(90, 60)
    small = {
        "contrastive": {"epochs": 1, "n_hidden": 8, "n_latent": 4},
        "contrastive-labels": {"epochs": 2, "n_hidden": 8, "n_latent": 4},
        "topic": {"epochs": 1, "n_topics": 4, "n_hidden": 8, "n_embedding": 8},
        "refinement": {"epochs": 1, "n_hidden": 8, "n_latent": 4, "n_gene_features": 8},
    }
    protocol = Protocol(m=(5,), seeds=1, permutations=1, found_clusters=False)
    found = bench_cells(
        adata,
        "cell_type",
        priors=knowing(adata),
        models=[Known(*model) for model in small.items()],
        protocol=protocol,
        root=tmp_path,
    )
    table = found.table
    for name in small:
        own = table[(table["method"] == name) & (table["measure"] == "macro_f1")]
        assert set(own["control"]) == {"prior", "permuted", "random", "none"}
        assert found.about["models"][name]["epochs"] == small[name]["epochs"]
    assert "ari" not in set(table.loc[table["method"] == "contrastive-labels", "measure"])
    assert found.about["models"]["contrastive-labels"]["held_out"] == 0


# -- resuming -------------------------------------------------------------------------------------------------------


def test_what_was_scored_is_read_and_only_what_is_new_is_computed(tmp_path):
    adata = faint_cells(60)
    how = {"priors": ignorant(adata), "models": {"guided": guided}, "root": tmp_path}
    told = []
    first = bench_cells(adata, "cell_type", protocol=ONE, progress=lambda *what: told.append(what), **how)
    assert told[-1] == ("fits", 8, 8)
    told.clear()
    again = bench_cells(adata, "cell_type", protocol=ONE, progress=lambda *what: told.append(what), **how)
    assert told == []
    pd.testing.assert_frame_equal(again.scores, first.scores)
    other = {**how, "models": {"guided": lambda seed: GuidedModel(seed=seed, epochs=1)}}
    bench_cells(adata, "cell_type", protocol=ONE, progress=lambda *what: told.append(what), **other)
    assert [what[1] for what in told] == [5, 6, 7, 8], "another model is scored anew, expression and priors are not"
    told.clear()
    changed = adata.copy()
    changed.obs["cell_type"] = changed.obs["cell_type"].to_numpy()[::-1]
    bench_cells(changed, "cell_type", protocol=ONE, progress=lambda *what: told.append(what), **how)
    assert len(told) == 8
    file = next(iter((tmp_path / "bench").rglob("*.json")))
    for path in (tmp_path / "bench").rglob("*.json"):
        path.write_text("{")
    with pytest.raises(DiskError, match="is damaged .*remove it"):
        bench_cells(adata, "cell_type", protocol=ONE, **how)
    assert file.exists()


def test_more_seeds_and_permutations_find_the_scores_of_fewer(tmp_path):
    adata = faint_cells(60)
    told = []
    how = {"priors": ignorant(adata), "models": {}, "root": tmp_path, "progress": lambda *what: told.append(what[1:])}
    first = bench_cells(adata, "cell_type", protocol=ONE, **how)
    told.clear()
    second = bench_cells(adata, "cell_type", protocol=replace(ONE, seeds=2, permutations=2), **how)
    assert told == [(5, 8), (6, 8), (7, 8), (8, 8)]
    pd.testing.assert_frame_equal(second.scores[second.scores["seed"] == 0].reset_index(drop=True), first.scores)


def test_scores_of_other_code_libraries_or_device_are_not_taken(tmp_path, monkeypatch):
    adata = faint_cells(60)
    told = []
    how = {"models": {}, "protocol": ONE, "root": tmp_path, "progress": lambda *what: told.append(what)}
    bench_cells(adata, "cell_type", **how)
    for name, value in (("source_digest", lambda *_: "changed"), ("library_versions", lambda *_: {"torch": "0"})):
        told.clear()
        monkeypatch.setattr(f"cellmodels.eval.bench.run.{name}", value)
        bench_cells(adata, "cell_type", **how)
        assert told == [("fits", 1, 1)]
    told.clear()
    bench_cells(adata, "cell_type", **how)
    assert told == []


def test_a_model_of_somebody_is_known_by_its_own_code(tmp_path, monkeypatch):
    """A module of a user that changes is another model, and a class without a file is like none before."""

    def fingerprint_of(kind):
        return fingerprint(lambda seed: kind(seed=seed))

    monkeypatch.syspath_prepend(tmp_path)
    source = "from tests.cellmodels.planted import GuidedModel\nclass Mine(GuidedModel): pass\n"
    prints = []
    for name, text in (("mine_a", source), ("mine_b", source), ("mine_c", f"{source}# changed\n")):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        module = importlib.import_module(name)
        made = fingerprint_of(module.Mine)
        assert made == fingerprint_of(module.Mine)
        prints.append(made["code"])
    assert len(set(prints)) == 3
    nowhere = type("Nowhere", (GuidedModel,), {"__module__": "no_such_notebook"})
    assert fingerprint_of(nowhere)["code"] != fingerprint_of(nowhere)["code"]


def test_a_run_that_was_stopped_goes_on(tmp_path):
    adata = faint_cells(60)
    how = {"priors": ignorant(adata), "models": {"guided": guided}, "protocol": ONE, "root": tmp_path}

    def stop(name, done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench_cells(adata, "cell_type", progress=stop, **how)
    told = []
    bench_cells(adata, "cell_type", progress=lambda *what: told.append(what[1]), **how)
    assert told == [6, 7, 8]


# -- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"labels": "kind"}, BenchError, "there is no column 'kind' in obs: there are cell_type, donor"),
        ({"labels": "same"}, BenchError, "has 1 types: two at least"),
        ({"groups": "batch"}, BenchError, "there is no column 'batch'"),
        ({"groups": "gaps"}, BenchError, "3 cells have no gaps"),
        ({"groups": "unknown"}, BenchError, "2 cells have no unknown"),
        ({"models": ["topics"]}, BenchError, "there is no model 'topics': there are contrastive"),
        ({"models": ["topic", "topic"]}, BenchError, "a model is named twice"),
        ({"models": {"priors": guided}}, BenchError, "priors is measured in any case"),
        ({"models": [Known("topic", {"n_topic": 1})]}, ModelError, "no hyper-parameter n_topic"),
    ],
)
def test_what_cannot_be_measured_is_told_before_work(tmp_path, how, error, words):
    adata = faint_cells(40)
    adata.obs["same"] = "a"
    adata.obs["gaps"] = pd.Series(["a"] * 37 + [None] * 3, index=adata.obs_names)
    adata.obs["unknown"] = ["d1", "Unknown", "nan", *["d2"] * 37]
    labels = how.pop("labels", "cell_type")
    with pytest.raises(error, match=words):
        bench_cells(adata[:, :50], labels, **{"models": {}, "protocol": ONE, "root": tmp_path, **how})
    assert not (tmp_path / "bench").exists()


def test_numbers_that_mean_nothing_are_refused():
    for wrong in (
        {"m": ()},
        {"m": (0, 5)},
        {"m": (5, 5)},
        {"m": (10**20,)},
        {"seeds": 0},
        {"permutations": 0},
        {"neighbors": 0},
        {"max_cells": 1},
    ):
        with pytest.raises(BenchError, match="at least"):
            Protocol(**wrong)


def test_data_without_expression_is_one_error(tmp_path):
    adata = faint_cells(40)
    adata.X = adata.X.toarray() - 1
    with pytest.raises(CellsError, match="needs counts or log-normalised"):
        bench_cells(adata, "cell_type", models={}, protocol=ONE, root=tmp_path)


def test_cells_are_drawn_once_for_all(tmp_path):
    found = bench_cells(faint_cells(100), "cell_type", models={}, protocol=replace(ONE, max_cells=40), root=tmp_path)
    assert found.about["n_cells"] == 40


def test_a_model_by_name_is_made_with_its_seed_and_settings():
    made = Known("topic", {"n_topics": 7})(3)
    assert (type(made).__name__, made.config.n_topics, made.config.seed) == ("TopicModel", 7, 3)
