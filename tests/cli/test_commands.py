"""The commands as a user runs them: their exit status, and what they print where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.run import genetext
from tests.factory import edit_summaries, write_ncbi
from tests.small_disk import small_disk


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("cli")
    write_ncbi(place / "ncbi")
    ran = genetext(place, "build-index", "--species", "human", "--encoder", "lexical", "--source", str(place / "ncbi"))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(place / "cache" / "indices" / "human" / "lexical")
    assert "with a summary of their own" in ran.stderr
    assert "without any text" in ran.stderr
    return place


def test_no_command_shows_the_help(place):
    ran = genetext(place, "--help")
    assert ran.returncode == 0
    for command in (
        "fetch",
        "build-index",
        "search",
        "neighbors",
        "info",
        "list",
        "verify",
        "export",
        "encoders",
        "cache",
    ):
        assert command in ran.stdout


def test_a_second_build_says_that_nothing_changed(place):
    ran = genetext(place, "build-index", "--encoder", "lexical", "--source", str(place / "ncbi"), "--json")
    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout)
    assert facts["unchanged"] is True
    assert facts["n_encoded"] == 0
    assert (
        sum(facts["coverage"][kind] for kind in ("summary", "ortholog", "facts", "name", "none"))
        == (facts["coverage"]["genes"])
    )


def test_quiet_says_nothing_on_stderr(place):
    ran = genetext(place, "build-index", "--encoder", "lexical", "--source", str(place / "ncbi"), "--quiet")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip().endswith("lexical")


def test_search_prints_rows_for_programs_and_json(place):
    ran = genetext(place, "search", "light sensor of retinal ganglion cells", "-k", "2")
    assert ran.returncode == 0, ran.stderr
    header, first, _ = ran.stdout.splitlines()
    assert header.split("\t")[:3] == ["symbol", "gene_id", "score"]
    assert first.split("\t")[:2] == ["OPN4", "94233"]
    rows = json.loads(genetext(place, "search", "light sensor of retinal ganglion cells", "-k", "2", "--json").stdout)
    assert rows[0]["gene_id"] == 94233
    assert len(rows) == 2


def test_neighbors(place):
    ran = genetext(place, "neighbors", "OPN1LW", "-k", "1")
    assert ran.stdout.splitlines()[1].startswith("OPN1MW\t2652\t")


def test_info_and_list(place):
    info = json.loads(genetext(place, "info", "human/lexical").stdout)
    assert info["species"]["name"] == "human"
    assert info["format"] == "genetext-index"
    gene = json.loads(genetext(place, "info", "human/lexical", "--gene", "OPN4").stdout)
    assert gene["gene_id"] == 94233
    assert "[provided by" not in gene["text"]
    rows = json.loads(genetext(place, "list", "--json").stdout)
    assert [row["index"] for row in rows] == ["human/lexical"]
    assert rows[0]["fingerprint"] == info["fingerprint"][:12]


def test_verify_finds_a_changed_byte(place, tmp_path):
    assert genetext(place, "verify").returncode == 0
    built = genetext(
        place, "build-index", "--encoder", "lexical", "--source", str(place / "ncbi"), "-o", str(tmp_path / "mine")
    )
    assert built.returncode == 0, built.stderr
    file = tmp_path / "mine" / "genes.parquet"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    ran = genetext(place, "verify", str(tmp_path / "mine"))
    assert ran.returncode == 1
    assert "genes.parquet has sha256" in ran.stdout


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("v.npy", {"v.npy", "v.tsv"}),
        ("v.parquet", {"v.parquet"}),
        ("v.vec", {"v.vec"}),
        ("v.safetensors", {"v.safetensors", "v.json"}),
    ],
)
def test_export(place, tmp_path, name, files):
    from genetext.index import GeneIndex

    ran = genetext(place, "export", str(tmp_path / name), "--index", "human")
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in tmp_path.iterdir()} == {*files, "v.NOTICE.txt"}
    notice = (tmp_path / "v.NOTICE.txt").read_text()
    assert "NCBI Gene" in notice
    assert "Licence: CC BY 4.0" in notice  # of the Gene Ontology's terms
    index = GeneIndex.open("human", root=place / "cache")
    opn4 = index.vectors(["OPN4"])[0]
    if name == "v.npy":
        import pandas as pd

        row = pd.read_csv(tmp_path / "v.tsv", sep="\t")["symbol"].tolist().index("OPN4")
        assert np.array_equal(np.load(tmp_path / name)[row], opn4)
    elif name == "v.parquet":
        import pandas as pd

        frame = pd.read_parquet(tmp_path / name).set_index("symbol")
        assert np.array_equal(np.asarray(frame.loc["OPN4", "vector"], np.float32), opn4)
    elif name == "v.vec":
        head, *lines = (tmp_path / name).read_text().splitlines()
        assert head == f"{len(index)} {index.dim}"
        (line,) = (line for line in lines if line.startswith("OPN4 "))
        assert np.array_equal(np.array(line.split()[1:], np.float32), opn4)
    else:
        from safetensors.numpy import load_file

        row = json.loads((tmp_path / "v.json").read_text())["keys"].index("OPN4")
        assert np.array_equal(load_file(tmp_path / name)["vectors"][row], opn4)


def test_export_refuses_an_unknown_key_and_leaves_nothing_behind(place, tmp_path):
    ran = genetext(place, "export", str(tmp_path / "v.vec"), "--key", "nickname")
    assert ran.returncode == 1
    assert "unknown key 'nickname': symbol, gene_id or ensembl_id" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["build-index", "--species", "humna"], 2, "did you mean human"),
        (["build-index", "--sections", "symbol,summry"], 2, "summry"),
        (["build-index", "--post", "abt", "--source", "facts"], 2, "abt"),
        (["build-index", "--encoder", "lexical", "--source", "/no/such/folder"], 1, "/no/such/folder"),
        (["search"], 2, "Missing argument"),
        (["search", "x", "--index", "nobody/nothing"], 1, "no index 'nobody/nothing'"),
        (["search", "x", "--index", "human/biobert"], 1, "build-index --species human --encoder biobert"),
        (["neighbors", "OPN1LW", "-k", "0"], 2, "-k"),
        (["export", "vectors.xyz"], 2, "cannot tell the format"),
        (["nonsense"], 2, "nonsense"),
        (["search", "light", "--encoder", "ada"], 1, "was built with"),
    ],
)
def test_errors_are_one_sentence_with_the_right_status(place, arguments, status, message):
    ran = genetext(place, *arguments, columns="500")
    assert ran.returncode == status, ran.stderr
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_debug_shows_the_traceback(place):
    assert "Traceback" in genetext(place, "--debug", "search", "x", "--index", "nobody/nothing").stderr


def test_cache_commands(place):
    assert genetext(place, "cache", "path").stdout.strip() == str(place / "cache")
    rows = json.loads(genetext(place, "cache", "list", "--json").stdout)
    kinds = {row["kind"] for row in rows}
    assert {"snapshot", "index"} <= kinds
    (snapshot,) = (row for row in rows if row["kind"] == "snapshot")
    assert snapshot["used by"] == "human/lexical"
    assert genetext(place, "cache", "prune", "--dry-run").stdout == ""


def test_prune_keeps_what_indices_were_made_from_and_what_names_are_resolved_by(place, tmp_path):
    write_ncbi(tmp_path / "ncbi")
    fetched = []
    for text in ("Something else.", "And something else again."):
        edit_summaries(tmp_path / "ncbi", {94233: text})
        ran = genetext(place, "fetch", "--source", str(tmp_path / "ncbi"))
        assert ran.returncode == 0, ran.stderr
        fetched.append(Path(ran.stdout.strip()))
    ran = genetext(place, "cache", "prune")
    assert ran.returncode == 0, ran.stderr
    assert [path.is_dir() for path in fetched] == [False, True]
    from genetext.names import snapshots
    from genetext.species import HUMAN

    assert snapshots.default(HUMAN, root=place / "cache").path == fetched[1]
    assert genetext(place, "cache", "prune").stdout == ""
    assert genetext(place, "verify").returncode == 0


def test_clear_empties_what_a_link_leads_to_and_says_what_it_cannot_remove(tmp_path):
    elsewhere = tmp_path / "scratch"
    (elsewhere / "abc").mkdir(parents=True)
    (elsewhere / "abc" / "cache.db").write_bytes(b"x")
    for folder in ("downloads", "indices"):
        (tmp_path / "cache" / folder).mkdir(parents=True)
    (tmp_path / "cache" / "vectors").symlink_to(elsewhere)
    with small_disk(tmp_path / "cache" / "downloads" / "mounted", kilobytes=16):
        refused = genetext(tmp_path, "cache", "clear", "--yes")
    assert refused.returncode == 1
    assert "1 things cannot be removed" in refused.stderr
    assert str(tmp_path / "cache" / "downloads") in refused.stderr
    assert (tmp_path / "cache" / "vectors").is_symlink()
    assert list(elsewhere.iterdir()) == []
    assert not (tmp_path / "cache" / "indices").exists()


def test_clear_asks_and_removes_only_its_own(tmp_path):
    write_ncbi(tmp_path / "ncbi")
    assert genetext(tmp_path, "fetch", "--source", str(tmp_path / "ncbi")).returncode == 0
    (tmp_path / "cache" / "README.md").write_text("mine")
    refused = genetext(tmp_path, "cache", "clear")
    assert refused.returncode != 0
    assert (tmp_path / "cache" / "snapshots").exists()
    assert genetext(tmp_path, "cache", "clear", "--yes").returncode == 0
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["README.md"]


def test_among_several_indices_one_has_to_be_named(place, tmp_path):
    for name in ("one", "two"):
        build = ("build-index", "--encoder", "lexical", "--source", str(place / "ncbi"), "--name", name)
        assert genetext(tmp_path, *build).returncode == 0
    ran = genetext(tmp_path, "search", "light")
    assert ran.returncode == 1
    assert "say which with --index (human/one, human/two)" in ran.stderr


def test_an_index_that_takes_the_place_of_another_says_so(tmp_path):
    write_ncbi(tmp_path / "ncbi")
    build = ("build-index", "--encoder", "lexical", "--source", str(tmp_path / "ncbi"), "--name", "same")
    assert "replacing" not in genetext(tmp_path, *build).stderr
    assert "replacing the index" in genetext(tmp_path, *build, "--post", "center").stderr


def test_search_without_any_index_says_what_to_do(tmp_path):
    ran = genetext(tmp_path, "search", "light")
    assert ran.returncode == 1
    assert "genetext build-index --species human" in ran.stderr


def test_a_closed_pipe_is_no_error(place):
    command = f"{sys.executable} -c 'from genetext.cli import main; main()' search light -k 20 | head -1"
    environment = {**os.environ, "GENETEXT_CACHE": str(place / "cache")}
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=environment)
    assert "Traceback" not in ran.stderr
    assert ran.stdout.startswith("symbol")


def test_encoders_are_listed(place):
    rows = json.loads(genetext(place, "encoders", "--json").stdout)
    assert {"minilm", "biobert", "scibert", "lexical", "ada"} <= {row["name"] for row in rows}
    assert "biobert" in genetext(place, "encoders").stdout
