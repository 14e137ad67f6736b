"""A lang folder of either form: lexicon, units and ARPA (lang.py), or Kaldi's HCLG.fst.

What differs between the two is asked for here; words, num_classes and class_inventory both have.
"""

from pathlib import Path

from stages.acoustic.lang.graph import build_graph, checked_grammar
from stages.acoustic.lang.kaldi_graph import FILES as KALDI_FILES
from stages.acoustic.lang.kaldi_graph import (
    HCLG_FILE,
    TRANSITIONS_FILE,
    KaldiGraph,
    build_from_kaldi,
    check_graph,
    read_kaldi_graph,
    write_kaldi_graph,
)
from stages.acoustic.lang.lang import FILES as LEXICON_FILES
from stages.acoustic.lang.lang import Lang, read_lang, write_lang
from stages.contract.errors import BadInput
from storage.files.publish import remove_leavings

AnyLang = Lang | KaldiGraph


def holds_kaldi_graph(directory: Path) -> bool:
    """Is the folder Kaldi's graph rather than a lexicon?

    Raises:
        BadInput: where it has files of both.
    """
    kaldi = [name for name in (HCLG_FILE, TRANSITIONS_FILE) if (directory / name).is_file()]
    lexicon = [name for name in LEXICON_FILES if (directory / name).is_file()]
    if kaldi and lexicon:
        raise BadInput(
            f"{directory} has {kaldi[0]} and {lexicon[0]}, wanted either {', '.join(KALDI_FILES)} "
            f"or {', '.join(LEXICON_FILES)}: take one form away"
        )
    return bool(kaldi)


def read_lang_folder(directory: Path) -> AnyLang:
    """Read and check a lang folder.

    Raises:
        BadInput: naming file and line.
    """
    return read_kaldi_graph(directory) if holds_kaldi_graph(directory) else read_lang(directory)


def check_lang(lang: AnyLang) -> None:
    """Make sure that a decoding graph can be made, before anything is trained.

    Raises:
        BadInput: naming what is wrong with the language model or the graph.
    """
    if isinstance(lang, KaldiGraph):
        check_graph(lang)
    else:
        checked_grammar(lang)


def write_lang_folder(lang: AnyLang, directory: Path) -> None:
    """Write a folder that `read_lang_folder` reads back."""
    if isinstance(lang, KaldiGraph):
        write_kaldi_graph(lang, directory)
    else:
        write_lang(lang, directory)


def build_decoding_graph(lang: AnyLang, directory: Path) -> None:
    """Write the graph that is decoded with into `directory`.

    Raises:
        BadInput: naming what is wrong with the language model or the graph.
    """
    remove_leavings(directory)  # of a killed run: each may take gigabytes
    if isinstance(lang, KaldiGraph):
        build_from_kaldi(lang, directory)
    else:
        build_graph(lang, directory)
