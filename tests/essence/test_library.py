"""The examples of docs/library.md run as printed, and use no name that `import essence` lacks."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import essence
from storage.corpus.corpus_file import CorpusFile
from storage.write.writer import StoreWriter
from tests.support.makers.foreign import loss_by_hand
from tests.support.makers.store import make_about, make_block, utterances_of
from tests.support.makers.training import make_corpus
from tests.support.paths import DOCS, ROOT
from tests.support.servers.remote import http_server, read_objects

EXAMPLES = re.findall(r"```python\n(.*?)```", (DOCS / "library.md").read_text(), flags=re.DOTALL)
RECORD, TRAIN, DATASET, READ, MATCH, AUDIT, WRITE = EXAMPLES
NOT_FOR_STORES = ("torch", "pipeline", "click", "pydantic", "h5py")
TRAINS = ("pipeline", "click")


def run(code: str, folder: Path, *, without: tuple[str, ...] = ("torch", "pipeline")) -> str:
    """Run an example in a process in which the modules `without` cannot be imported."""
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({without}))\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", blocked + code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.h5 and a store of its utterances, train.zarr."""
    folder = tmp_path_factory.mktemp("labelled")
    with CorpusFile(make_corpus(folder / "train.h5", seed=3)) as corpus:
        about = make_about(
            corpus_fingerprint=corpus.fingerprint,
            class_inventory=corpus.about.class_inventory,
            num_classes=corpus.about.num_classes,
            kept=3,
            frame_shift_ms=corpus.about.frame_shift_ms,
            subsampling=corpus.about.subsampling,
            shard_frames=55,
        )
        writer = StoreWriter.create(folder / "train.zarr", about, utterances=utterances_of(corpus))
        for shard in writer.missing_shards():
            frames = sum(writer.utterances[row].num_frames for row in writer.shard(shard))
            writer.write_shard(shard, make_block(about, frames, seed=shard))
        writer.seal()
    return folder


def test_writing_example_makes_a_store_that_the_reading_example_reads(tmp_path: Path) -> None:
    digest = run(WRITE, tmp_path, without=NOT_FOR_STORES).strip()
    store = essence.open_store(tmp_path / "train.zarr")
    assert store.digest == digest
    assert [row.num_frames for row in store.utterances] == [300, 700]
    assert store.read(range(1000), k=32).ids_TK.shape == (1000, 32)
    checks = (
        "\n    assert labels.ids_TK.shape == labels.logp_TK.shape == (utterance.num_frames, 8)"
        "\n    assert labels.tail_T.shape == (utterance.num_frames,)"
        "\nprint(store.num_frames)"
    )
    assert run(READ + checks, tmp_path, without=NOT_FOR_STORES) == "1000\n"
    assert run(WRITE, tmp_path).strip() == digest  # again: no shard is missing
    frames = store.utterance_frames("utt-b")
    part, whole = store.read(frames[100:350], k=8), store.read(["utt-b"], k=8)
    np.testing.assert_array_equal(part.ids_TK, whole.ids_TK[100:350])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the first example has recorded train.zarr."""
    folder = tmp_path_factory.mktemp("recorded")
    digest = run(RECORD, folder, without=NOT_FOR_STORES).strip()
    assert run(RECORD, folder, without=NOT_FOR_STORES).strip() == digest  # nothing is missing
    assert essence.open_store(folder / "train.zarr").digest == digest
    return folder


def test_recording_example_keeps_the_best_classes(recorded: Path) -> None:
    store = essence.open_store(recorded / "train.zarr")
    assert {row.id: row.num_frames for row in store.utterances} == {
        "utt-a": 300,
        "utt-b": 700,
        "utt-c": 450,
    }
    logits = np.random.default_rng(5).normal(0, 4, (300, 500))
    labels = store.read(["utt-a"], k=32)
    np.testing.assert_array_equal(labels.ids_TK, np.argsort(-logits, axis=1)[:, :32])


def test_dataset_example_prints_the_loss_of_a_uniform_student(recorded: Path) -> None:
    assert run(DATASET, recorded, without=TRAINS).startswith("tensor(6.21")  # ln 500


def test_training_example_learns_from_a_store_behind_http(recorded: Path, tmp_path: Path) -> None:
    """In a folder without the store; each loss is the definition's of the same batch."""
    saved = """
    batch = {"logits": logits.detach().numpy(), "labels": labels.numpy()}
    np.savez(f"{step}.npz", **batch)
"""
    code = "import numpy as np\n" + TRAIN.rstrip() + saved
    with http_server() as server:
        server.objects = read_objects(recorded / "train.zarr")
        assert '"train.zarr"' in code
        printed = run(code.replace("train.zarr", server.url), tmp_path, without=TRAINS)
    totals = [float(line) for line in printed.split()]
    assert len(totals) == 3
    for step, total in enumerate(totals):
        with np.load(tmp_path / f"{step}.npz") as batch:
            summed, count = loss_by_hand(
                batch["logits"].astype(np.float64),
                batch["labels"],
                recorded / "train.zarr",
                {"utt-c": 450, "utt-a": 300},
                k=8,
                hard_weight=0.2,
                tail="bucket",
            )
            assert total == pytest.approx(summed / count, rel=1e-5)
            assert count == 750


def test_match_example_prints_how_many_utterances_are_shared(labelled: Path) -> None:
    num_utterances = len(essence.open_store(labelled / "train.zarr").utterances)
    told = f"uses {num_utterances} of {num_utterances} utterances of train.zarr\n"
    assert run(MATCH, labelled) == told


def test_audit_example_prints_a_line_for_each_k(labelled: Path) -> None:
    lines = [line.split() for line in run(AUDIT, labelled).splitlines()]
    assert [int(line[0]) for line in lines] == [1, 2, 3]
    kept_mass = [float(line[1]) for line in lines]
    assert 0 < kept_mass[0] < kept_mass[1] < kept_mass[2] <= 1


def test_reading_example_takes_at_most_ten_lines() -> None:
    assert len([line for line in READ.splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=["record", "train", "dataset", "read", "match", "audit", "write"]
)
def test_example_imports_nothing_of_the_program_but_essence(example: str) -> None:
    tree = ast.parse(example)
    modules = {
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    }
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= {"essence", "hashlib", "numpy", "pathlib", "torch", "torch.utils.data"}


def test_page_names_every_public_name_and_no_module_of_the_floors() -> None:
    page = (DOCS / "library.md").read_text()
    assert [name for name in essence.__all__ if name != "__version__" and name not in page] == []
    assert not re.findall(r"\b(?:storage|stages|pipeline)[/.]\w+", page)


def test_readme_example_uses_public_names() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    ast.parse(example)
    used = set(re.findall(r"essence\.(\w+)(?:\.(\w+))?", example))
    assert {name for name, _ in used} <= {*essence.__all__, "torch"}
    assert {inner for name, inner in used if name == "torch"} <= set(essence.torch.__all__)
