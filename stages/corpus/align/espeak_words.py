"""The program that asks espeak-ng for pronunciations, in a separate process.

    python -m stages.corpus.align.espeak_words LANG

A request is a word on a line of stdin. The answer is a line of stdout: its phones in the alphabet
of the International Phonetic Association, without stress, separated by blanks; an empty line if
espeak-ng gives none. espeak-ng is licensed under the GPL: the rest of the program runs this file
and never imports it. Exit code 3: espeak-ng does not have the language.
"""

import ctypes
import re
import sys

import espeakng_loader

SYNCHRONOUS, UTF8 = 2, 1
IPA, SEPARATOR = 2, ord("_") << 8  # phoneme mode of espeak_TextToPhonemes
STRESS = "ˈˌ"
LANGUAGE_SWITCH = re.compile(r"\([\w-]+\)")  # `(en)` where a word is pronounced as a foreign one
NO_LANGUAGE = 3


class Pronouncer:
    """An instance of espeak-ng with a language."""

    def __init__(self, language: str) -> None:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if library.espeak_SetVoiceByName(language.encode()) != 0:
            raise ValueError(language)
        self._translate = library.espeak_TextToPhonemes
        self._translate.restype = ctypes.c_char_p
        self._translate.argtypes = (ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int)

    def phones(self, word: str) -> list[str]:
        """The phones of a word."""
        rest = ctypes.c_char_p(word.encode())
        clauses = []
        while rest.value:
            clauses.append(self._translate(ctypes.byref(rest), UTF8, IPA | SEPARATOR).decode())
        text = LANGUAGE_SWITCH.sub(" ", " ".join(clauses))
        bare = "".join(mark for mark in text if mark not in STRESS)
        return bare.replace("_", " ").replace("-", "").split()


def main() -> None:
    """Answer the requests on stdin until end of file."""
    try:
        pronouncer = Pronouncer(sys.argv[1])
    except ValueError:
        sys.exit(NO_LANGUAGE)
    for line in sys.stdin:
        print(" ".join(pronouncer.phones(line.strip())))


if __name__ == "__main__":
    main()
