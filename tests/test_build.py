"""Building whole: coverage, caching, changes, kills, two at once, full and read-only disks."""

import hashlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genetext.build import BuildOptions, build, build_index
from genetext.errors import DiskError, EncoderError, GeneIndexError, GenetextError, TextError
from genetext.index import GeneIndex
from genetext.text.compose import Template
from tests.factory import edit_summaries, write_ncbi
from tests.models import SPECIAL, WORDS, write_bert
from tests.small_disk import small_disk

N_EXTRA = 300
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:;-+()[]&β"
VOCABULARY = (*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS))


def bert_folder(folder: Path, *, seed: int = 0) -> Path:
    """A small BERT that can spell, so that different texts have different vectors."""
    return write_bert(folder, vocabulary=VOCABULARY, window=256, seed=seed)


@pytest.fixture(scope="module")
def ncbi(tmp_path_factory):
    return write_ncbi(tmp_path_factory.mktemp("ncbi"), n_extra=N_EXTRA)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return bert_folder(tmp_path_factory.mktemp("model"))


def digests(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_coverage_adds_up_and_is_written_down(ncbi, tmp_path):
    built = build("human", encoder="lexical", source=str(ncbi), root=tmp_path)
    cover = built.report.coverage
    assert cover["genes"] == len(built.index.genes)
    assert cover["genes"] == sum(number for kind, number in cover.items() if kind != "genes")
    assert min(cover["summary"], cover["facts"], cover["none"]) > 0
    assert built.index.manifest["coverage"] == cover
    assert len(built.index) == cover["genes"] - cover["none"]
    assert set(built.report.seconds) == {"text", "compose", "encode", "write"}


def test_a_mouse_gets_its_human_orthologs_text_and_says_so(ncbi, tmp_path):
    index = build_index("mouse", encoder="lexical", source=str(ncbi), root=tmp_path)
    opn4 = index.gene("Opn4")
    assert opn4["source"] == "ortholog:RefSeq"
    assert opn4["fallback"] is True
    assert opn4["ortholog_gene_id"] == 94233
    assert opn4["text"].startswith("Opn4")
    assert index.manifest["coverage"]["ortholog"] > 0


def test_a_second_build_changes_nothing_and_encodes_nothing(ncbi, model, tmp_path):
    first = build("human", encoder=str(model), source=str(ncbi), root=tmp_path, name="tiny")
    before = digests(first.index.path)
    second = build("human", encoder=str(model), source=str(ncbi), root=tmp_path, name="tiny")
    assert second.report.unchanged
    assert second.report.n_encoded == 0
    assert digests(second.index.path) == before
    assert first.report.n_encoded == first.report.n_texts


def test_after_ten_changed_summaries_ten_texts_are_encoded(model, tmp_path):
    folder = write_ncbi(tmp_path / "ncbi", n_extra=60)
    build("human", encoder=str(model), source=str(folder), root=tmp_path, name="tiny")
    edit_summaries(
        folder, {20_000_001 + number: f"Now known to bind copper ion number {number}." for number in range(10)}
    )
    again = build("human", encoder=str(model), source=str(folder), root=tmp_path, name="tiny")
    assert not again.report.unchanged
    assert again.report.n_encoded == 10
    assert "copper" in again.index.gene("EXTRA3")["text"]


def test_the_same_input_gives_the_same_bytes_in_another_cache(ncbi, model, tmp_path):
    one = build_index("human", encoder=str(model), source=str(ncbi), root=tmp_path / "one", output=tmp_path / "a")
    other = build_index("human", encoder=str(model), source=str(ncbi), root=tmp_path / "other", output=tmp_path / "b")
    assert digests(one.path) == digests(other.path)


def test_genes_with_one_text_share_a_vector_and_are_both_there(ncbi, tmp_path):
    template = Template(sections=("summary",))
    built = build("human", encoder="lexical", source=str(ncbi), root=tmp_path, template=template)
    one, other = built.index.vectors(["HBA1", "HBA2"])
    assert np.array_equal(one, other)
    assert built.report.n_texts < len(built.index)
    found = built.index.neighbors("HBA1", k=1)
    assert found["symbol"].tolist() == ["HBA2"]
    assert found["score"].iloc[0] == pytest.approx(1.0, abs=1e-6)


def test_joined_encoders_weigh_the_same(ncbi, model, tmp_path):
    joined = build_index("human", encoder=f"{model}+lexical", source=str(ncbi), root=tmp_path, name="joined")
    alone = [
        build_index("human", encoder=name, source=str(ncbi), root=tmp_path, name=f"alone{number}")
        for number, name in enumerate((str(model), "lexical"))
    ]
    assert joined.dim == sum(index.dim for index in alone)
    genes = ["OPN4", "RHO", "TP53"]
    expected = np.mean([index.vectors(genes) @ index.vectors(genes).T for index in alone], axis=0)
    assert np.allclose(joined.vectors(genes) @ joined.vectors(genes).T, expected, atol=1e-5)
    assert len(joined.search("light sensor", k=3)) == 3


def test_post_processing_is_part_of_the_index_and_of_its_queries(ncbi, model, tmp_path):
    plain = build_index("human", encoder=str(model), source=str(ncbi), root=tmp_path, name="plain")
    centred = build_index("human", encoder=str(model), source=str(ncbi), root=tmp_path, name="c", post="center,abtt:2")
    assert abs(plain.matrix @ plain.matrix.T).mean() > 2 * abs(centred.matrix @ centred.matrix.T).mean()
    text = centred.gene("TP53")["text"]
    reopened = GeneIndex.open(centred.path)
    found = reopened.search(text, k=1)
    assert found["symbol"].iloc[0] == "TP53"
    assert found["score"].iloc[0] == pytest.approx(1.0, abs=1e-4)
    assert reopened.manifest["embedding"]["post"] == "center,abtt:2"


def test_an_index_whose_encoder_changed_on_the_disk_is_refused_with_both_values(ncbi, tmp_path):
    folder = bert_folder(tmp_path / "model")
    index = build_index("human", encoder=str(folder), source=str(ncbi), root=tmp_path, name="tiny")
    bert_folder(folder, seed=1)
    with pytest.raises(GenetextError, match="sha256|revision|are not the ones"):
        GeneIndex.open(index.path).search("light")


def test_only_the_template_changes_what_it_says(ncbi, tmp_path):
    index = build_index(
        "mouse", encoder="lexical", source=str(ncbi), root=tmp_path, template=Template(drop=("templates",))
    )
    assert "Is expressed in" not in " ".join(index.genes["text"])
    assert index.manifest["text"]["drop"] == ["templates"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gene_types": ("protein_coding",)}, TextError, "protein_coding"),
        (
            {"template": Template(sections=("summary",)), "gene_types": ("pseudo",)},
            GeneIndexError,
            "not one of",
        ),
    ],
)
def test_what_cannot_be_built_is_said_in_a_sentence(ncbi, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        build("human", encoder="lexical", source=str(ncbi), root=tmp_path, **options)


def test_a_damaged_index_is_built_again_though_its_size_is_right(ncbi, tmp_path, caplog):
    index = build_index("human", encoder="lexical", source=str(ncbi), root=tmp_path)
    before = digests(index.path)
    for name in ("index.faiss", "genes.parquet", "embedding/block0/components.npy"):
        file = index.path / name
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 255
        file.write_bytes(content)
        again = build("human", encoder="lexical", source=str(ncbi), root=tmp_path)
        assert not again.report.unchanged
        assert digests(again.index.path) == before
        assert "building it again" in caplog.text


def test_files_of_the_user_in_an_index_folder_are_not_lost(ncbi, tmp_path):
    out = tmp_path / "out"
    build("human", encoder="lexical", source=str(ncbi), root=tmp_path, output=out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(GeneIndexError, match=r"would be lost: notes.txt"):
        build("human", encoder="lexical", source=str(ncbi), root=tmp_path, output=out, post="center")
    assert (out / "notes.txt").read_text() == "mine"
    assert GeneIndex.open(out).verify() == []


def test_the_cache_is_not_cleaned_up_under_a_build(ncbi, tmp_path):
    from genetext import cache, locks

    build("human", encoder="lexical", source=str(ncbi), root=tmp_path)
    with locks.cache_in_use(tmp_path):
        for clean in (cache.prune, cache.clear):
            with pytest.raises(DiskError, match="is in use by another process"):
                clean(root=tmp_path)
    assert cache.prune(root=tmp_path) == []
    cache.clear(root=tmp_path)
    assert not (tmp_path / "indices").exists()


def test_one_damaged_index_does_not_hide_the_others(ncbi, tmp_path):
    from genetext import cache

    build("human", encoder="lexical", source=str(ncbi), root=tmp_path, name="good")
    bad = build("human", encoder="lexical", source=str(ncbi), root=tmp_path, name="bad").index
    (bad.path / "index.faiss").write_bytes(b"")
    kinds = {entry.name: entry.kind for entry in cache.entries(root=tmp_path)}
    assert kinds["human/good"] == "index"
    assert kinds["human/bad"] == "damaged index"


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/b", "", ".hidden"])
def test_a_name_that_leaves_the_cache_is_refused(ncbi, tmp_path, name):
    with pytest.raises(GeneIndexError, match="cannot name an index"):
        build("human", encoder="lexical", source=str(ncbi), root=tmp_path, name=name)


def test_other_choices_have_other_names(ncbi, tmp_path):
    choices = [{}, {"post": "center"}, {"gene_types": None}, {"template": Template(go=())}, {"genes": ["OPN4", "RHO"]}]
    paths = [
        build_index("human", encoder="lexical", source=str(ncbi), root=tmp_path, **choice).path for choice in choices
    ]
    assert len(set(paths)) == len(choices)
    assert paths[0].name == "lexical"
    assert all(path.name.startswith("lexical-") for path in paths[1:])


choices = st.fixed_dictionaries(
    {
        "encoder": st.sampled_from(["minilm", "lexical", "biobert+lexical", "org/model", "/a/model", "a/model", "ä/ö"]),
        "genes": st.none() | st.lists(st.sampled_from(["OPN4", "RHO", "TP53"]), min_size=1, max_size=2, unique=True),
        "gene_types": st.sampled_from([None, ("protein-coding",), ("pseudo",), ("protein-coding", "ncRNA")]),
        "template": st.sampled_from([Template(), Template(go=()), Template(drop=("templates",))]),
        "post": st.sampled_from(["", "center", "center,abtt:3", "center,abtt:31", "pca:256", "whiten"]),
        "precision": st.sampled_from(["auto", "float32", "bfloat16"]),
        "long_texts": st.sampled_from([None, "truncate", "window-mean", "error"]),
        "dimensions": st.sampled_from([None, 256, 512]),
    }
)


@settings(max_examples=300, deadline=None)
@given(
    choices, st.lists(st.sampled_from(sorted(["encoder", "post", "precision", "long_texts", "dimensions"]))), choices
)
def test_no_two_choices_have_one_name(chosen, changed, other):
    other = {**chosen, **{key: other[key] for key in changed}} if changed else other

    def decides(choice):
        genes = None if choice["genes"] is None else sorted(choice["genes"])
        return {**choice, "genes": genes, "gene_types": choice["gene_types"] if genes is None else None}

    names = [BuildOptions(**choice).name for choice in (chosen, other)]
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,119}", name) for name in names)
    assert (names[0] == names[1]) == (decides(chosen) == decides(other))


@given(st.text(min_size=1, max_size=300))
def test_any_encoder_has_a_name_that_stays_in_the_cache(encoder):
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,119}", BuildOptions(encoder=encoder).name)


def test_an_index_of_other_choices_is_replaced_only_where_that_is_asked_for(tmp_path):
    folder = write_ncbi(tmp_path / "ncbi")
    how = {"encoder": "lexical", "source": str(folder), "root": tmp_path}
    index = build_index("human", name="lexical", post="center", **how)
    with pytest.raises(GeneIndexError, match=r"lexical was made from another post: keep both .*--name lexical"):
        build_index("human", **how)
    assert GeneIndex.open(index.path).fingerprint == index.fingerprint
    replaced = build_index("human", name="lexical", **how)
    assert replaced.path == index.path
    edit_summaries(folder, {94233: "Newer text."})
    assert build_index("human", **how).fingerprint != replaced.fingerprint
    with pytest.raises(GeneIndexError, match="lexical was made from another source"):
        build_index("human", **{**how, "source": "facts"})


def test_a_type_checker_sees_the_parameters_of_a_build():
    assert inspect.signature(build_index).parameters == inspect.signature(build).parameters
    assert inspect.signature(build_index).parameters["encoder"].default == "minilm"


def test_offline_opens_no_connection(ncbi, tmp_path, monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError(f"a connection was opened: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    build("human", encoder="lexical", source=str(ncbi), root=tmp_path, offline=True)
    with pytest.raises(EncoderError, match="encoders pull"):
        build("human", encoder="biobert", source=str(ncbi), root=tmp_path, offline=True)
    assert "HF_HUB_OFFLINE" not in os.environ


def test_a_snapshot_can_be_pinned(model, tmp_path):
    folder = write_ncbi(tmp_path / "ncbi")
    old = build_index("human", encoder="lexical", source=str(folder), root=tmp_path, name="old")
    edit_summaries(folder, {94233: "Something else."})
    new = build_index("human", encoder="lexical", source=str(folder), root=tmp_path, name="new")
    digest = old.manifest["snapshot"]["digest"]
    again = build_index("human", encoder="lexical", snapshot=digest[:16], root=tmp_path, name="again")
    assert digests(again.path) == digests(old.path)
    assert digests(again.path) != digests(new.path)


def command(root: Path, ncbi: Path, model: Path | str, *more: str) -> list[str]:
    code = f"import os; os.environ['GENETEXT_CACHE'] = {str(root)!r}; from genetext.cli import main; main()"
    return [
        *(sys.executable, "-c", code, "build-index", "--species", "human", "--quiet", "--json", *more),
        *("--encoder", str(model), "--source", str(ncbi), "--name", "tiny"),
    ]


@pytest.mark.slow
def test_a_build_killed_at_twenty_moments_ends_with_the_same_bytes(model, tmp_path):
    ncbi = write_ncbi(tmp_path / "ncbi", n_extra=2000)
    started = time.monotonic()
    subprocess.run(command(tmp_path / "whole", ncbi, model), check=True, capture_output=True)
    whole = time.monotonic() - started
    expected = digests(tmp_path / "whole" / "indices" / "human" / "tiny")
    rng = np.random.default_rng(20)
    killed, while_encoding, runs = 0, 0, 0
    root = tmp_path / "cache0"
    while killed < 20:
        runs += 1
        assert runs < 60
        with subprocess.Popen(command(root, ncbi, model), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            try:
                run.wait(timeout=rng.uniform(0.2, 1.0) * whole)
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
                killed += 1
                while_encoding += any(root.glob("journals/*.json"))
        index = root / "indices" / "human" / "tiny"
        if index.exists():
            assert digests(index) == expected
        # Some caches see one kill, others several, before they are let through.
        if index.exists() or killed % 5 == 0:
            subprocess.run(command(root, ncbi, model), check=True, capture_output=True)
            assert digests(index) == expected
            assert list(index.parent.glob("*.tmp-*")) == []
            root = tmp_path / f"cache{runs}"
    assert while_encoding >= 3


def test_two_builders_at_once_do_the_work_once(ncbi, model, tmp_path):
    runs = [
        subprocess.Popen(command(tmp_path, ncbi, model), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    reports = [json.loads(out) for out, _ in outputs]
    assert sorted(report["unchanged"] for report in reports) == [False, True]
    assert sum(report["n_encoded"] for report in reports) == reports[0]["n_texts"]
    assert GeneIndex.open("human/tiny", root=tmp_path).verify() == []


def test_a_full_disk_is_one_sentence_and_loses_nothing(ncbi, model, tmp_path):
    with small_disk(tmp_path / "small", kilobytes=1024) as small:
        (small / "ballast").write_bytes(bytes(900_000))
        ran = subprocess.run(command(small / "cache", ncbi, model), capture_output=True, text=True)
        assert ran.returncode == 1, ran.stderr
        assert "no space is left on the disk" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert len(ran.stderr.strip().splitlines()) == 1
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        ran = subprocess.run(command(small / "cache", ncbi, model), capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert GeneIndex.open("human/tiny", root=small / "cache").verify() == []


def test_a_limit_on_file_size_is_one_sentence(ncbi, tmp_path):
    import resource

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    ran = subprocess.run(command(tmp_path, ncbi, "lexical"), capture_output=True, text=True, preexec_fn=limit)
    assert ran.returncode == 1
    assert "larger than is allowed" in ran.stderr or "no space" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "indices" / "human" / "tiny").exists()


def test_a_read_only_cache_is_one_sentence(ncbi, model, tmp_path):
    with small_disk(tmp_path / "ro", kilobytes=65_536) as small:
        built = subprocess.run(command(small / "cache", ncbi, model), capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        ran = subprocess.run(command(small / "cache", ncbi, model, "--post", "center"), capture_output=True, text=True)
        assert ran.returncode == 1
        assert "read-only" in ran.stderr
        assert "Traceback" not in ran.stderr
        # What is there can be read.
        assert len(GeneIndex.open("human/tiny", root=small / "cache").neighbors("OPN4", k=2)) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_without_permission_is_one_sentence(ncbi, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DiskError, match="permission is denied"):
        build("human", encoder="lexical", source=str(ncbi), root=tmp_path / "cache")


def test_ctrl_c_leaves_everything_resumable_and_says_how_to_go_on(ncbi, model, tmp_path):
    with subprocess.Popen(
        command(tmp_path, ncbi, model), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("snapshots/human/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate()
    if run.returncode != 0:  # it may have been quicker
        assert run.returncode == 130
        assert "run the same command again" in said
    assert subprocess.run(command(tmp_path, ncbi, model), capture_output=True).returncode == 0
