"""Lang folder of any form: lexicon, units and ARPA (lang.py), tokens (token_lang.py), or HCLG.fst.

Callers use all through these functions; all have words, num_classes and class_inventory.
"""

from pathlib import Path

from stages.acoustic.lang.ctc_graph import build_ctc_graph
from stages.acoustic.lang.graph import build_graph, checked_grammar
from stages.acoustic.lang.graph_files import HCLG_FILE, holds_kaldi_graph
from stages.acoustic.lang.kaldi_graph import (
    KaldiGraph,
    build_from_kaldi,
    check_graph,
    read_kaldi_graph,
    write_kaldi_graph,
)
from stages.acoustic.lang.lang import Lang, read_lang, write_lang
from stages.acoustic.lang.token_lang import (
    TokenLang,
    holds_token_lang,
    read_token_lang,
    write_token_lang,
)
from stages.contract.errors import BadInput

AnyLang = Lang | TokenLang | KaldiGraph


def read_lang_folder(directory: Path, *, model: Path | None = None) -> AnyLang:
    """Read and check a lang folder. `model`: the final.mdl of a graph without transitions.txt.

    Raises:
        BadInput: naming file and line.
    """
    if holds_token_lang(directory):
        return read_token_lang(directory)
    if holds_kaldi_graph(directory):
        return read_kaldi_graph(directory, model=model)
    if model is not None:
        raise BadInput(
            f"{directory} has no {HCLG_FILE}, and a model ({model}) is of use with a graph only: "
            "name the folder that mkgraph.sh made"
        )
    return read_lang(directory)


def check_lang(lang: AnyLang) -> None:
    """Check that a decoding graph can be made, before models are trained.

    Raises:
        BadInput: if the language model or the graph is damaged or does not fit the lang.
    """
    if isinstance(lang, KaldiGraph):
        check_graph(lang)
    else:
        checked_grammar(lang)


def write_lang_folder(lang: AnyLang, directory: Path) -> None:
    """Write a folder for `read_lang_folder`."""
    if isinstance(lang, KaldiGraph):
        write_kaldi_graph(lang, directory)
    elif isinstance(lang, TokenLang):
        write_token_lang(lang, directory)
    else:
        write_lang(lang, directory)


def build_decoding_graph(lang: AnyLang, directory: Path) -> None:
    """Write the graph for decoding into `directory`.

    Raises:
        BadInput: if the language model or the graph is damaged or does not fit the lang.
    """
    if isinstance(lang, KaldiGraph):
        build_from_kaldi(lang, directory)
    elif isinstance(lang, TokenLang):
        build_ctc_graph(lang, directory)
    else:
        build_graph(lang, directory)
