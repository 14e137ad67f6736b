"""student -> deployment folder: the model, checked against torch, and all that decoding needs."""

import io
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from stages.acoustic.features.cmvn_file import CMVN_FILE
from stages.acoustic.lang.graph_files import GRAPH_FILE, WORDS_FILE, holds_kaldi_graph
from stages.acoustic.lang.lang import FILES as LEXICON_FILES
from stages.acoustic.lang.priors import corpus_log_priors
from stages.acoustic.lang.token_lang import TOKENS_FILE
from stages.acoustic.models.architectures import num_parameters
from stages.acoustic.models.description import describe_architecture
from stages.acoustic.models.model_file import load_model
from stages.acoustic.models.onnx_model import (
    ONNX_ABOUT_FILE,
    ONNX_FILE,
    OnnxAbout,
    OnnxModel,
    Precision,
)
from stages.deploy.equality import compare
from stages.deploy.folder import GRAPH_FOLDER, LANG_FOLDER, PRIORS_FILE, Equality
from stages.deploy.make_onnx import OPSET, LogPosteriors, make_onnx
from stages.deploy.quantise import quantise
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import file_digest
from storage.files.leftovers import scratch_folder
from storage.files.publish import publish_copy, publish_file

COMPARED_SPLITS = ("dev", "test")


def write_model(
    directory: Path, *, student: Path, corpus_directory: Path, precision: Precision
) -> Equality:
    """Write model.onnx and onnx.json. The float32 model is compared with the one in torch.

    Raises:
        BadInput: if the model cannot be exported, or the export differs from it.
        MissingPart: if a model or a corpus file is missing.
    """
    model, about = load_model(student, "cpu")
    with ExitStack() as stack:
        corpora = {
            split: stack.enter_context(CorpusFile(corpus_directory / f"{split}.h5"))
            for split in ("train", *COMPARED_SPLITS)
        }
        described = OnnxAbout(
            architecture=describe_architecture(about.architecture.model_dump(mode="json")),
            precision="float32",
            opset=OPSET,
            feature_dim=about.feature_dim,
            num_classes=about.num_classes,
            class_inventory=about.class_inventory,
            num_parameters=num_parameters(model),
            fingerprint="",
        )
        content = make_onnx(model)
        with scratch_folder(directory / "float32") as scratch:
            _publish_model(scratch, content, described)
            compared = [corpora[split] for split in COMPARED_SPLITS]
            equality = compare(LogPosteriors(model).eval(), OnnxModel(scratch), compared)
        if precision == "int8":
            content, how = quantise(content, corpora["train"])
            described = described.model_copy(update={"precision": "int8", "quantisation": how})
        _publish_model(directory, content, described)
    return equality


def _publish_model(directory: Path, content: bytes, about: OnnxAbout) -> None:
    publish_file(directory / ONNX_FILE, content)
    about = about.model_copy(update={"fingerprint": file_digest(directory / ONNX_FILE)})
    publish_file(directory / ONNX_ABOUT_FILE, about.model_dump_json(indent=2).encode() + b"\n")


def write_decoding(
    directory: Path, *, corpus_directory: Path, graph_directory: Path, prior_smoothing: float
) -> None:
    """Write priors, graph, lang and, if the corpus has them, the sums for normalisation."""
    with CorpusFile(corpus_directory / "train.h5") as train:
        log_prior_C = corpus_log_priors(train, smoothing=prior_smoothing)
    file = io.BytesIO()
    np.save(file, log_prior_C, allow_pickle=False)
    publish_file(directory / PRIORS_FILE, file.getvalue())
    _copy(graph_directory, directory / GRAPH_FOLDER, (GRAPH_FILE, WORDS_FILE))
    lang = corpus_directory / "lang"
    if not holds_kaldi_graph(lang):  # of Kaldi's, the graph above has all
        _copy(lang, directory / LANG_FOLDER, (*LEXICON_FILES, TOKENS_FILE, "num_pdfs"))
    if (corpus_directory / CMVN_FILE).is_file():
        publish_copy(corpus_directory / CMVN_FILE, directory / CMVN_FILE)


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    target.mkdir(exist_ok=True)
    for name in names:
        if (source / name).is_file():
            publish_copy(source / name, target / name)
