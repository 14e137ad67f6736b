"""TokenLang: tokens of a CTC model, the words that they spell, and language model.

    tokens.txt    token number             class of every token; number 0 is the blank
    lexicon.txt   WORD token token ...     a line per spelling
    lm.arpa       n-gram model over words  ARPA back-off format

Tokens that begin with WORD_START begin a word: characters and word pieces spell text, as
SentencePiece has it; phones do not.
"""

from dataclasses import dataclass
from pathlib import Path

from stages.acoustic.kaldi.text_file import read_text
from stages.acoustic.lang.lang import RESERVED, Pronunciation
from stages.contract.ctc import BLANK
from stages.contract.errors import BadInput
from storage.files.fingerprint import fingerprint
from storage.files.publish import publish_file

BLANK_TOKEN = "<blk>"
WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"
TOKENS_FILE, LEXICON_FILE, ARPA_FILE = "tokens.txt", "lexicon.txt", "lm.arpa"
WANTED = f"a lang of tokens needs {TOKENS_FILE}, {LEXICON_FILE} and {ARPA_FILE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLang:
    """A checked lang: class c is `tokens[c]`; every token of the lexicon is among them."""

    tokens: tuple[str, ...]
    lexicon: tuple[Pronunciation, ...]
    arpa: str

    @property
    def num_classes(self) -> int:
        """All tokens and the blank."""
        return len(self.tokens)

    @property
    def words(self) -> tuple[str, ...]:
        """The words, sorted, each once."""
        return tuple(sorted({entry.word for entry in self.lexicon}))

    @property
    def class_inventory(self) -> str:
        """Digest of the meaning of class 0, 1, 2 ...: the tokens."""
        return fingerprint({"tokens": list(self.tokens)})

    @property
    def spells_text(self) -> bool:
        """Whether tokens alone give words, without a lexicon."""
        return any(token.startswith(WORD_START) for token in self.tokens)

    def text_of(self, tokens: list[int]) -> str:
        """The words that tokens spell, separated by blanks."""
        joined = "".join(self.tokens[token] for token in tokens)
        return " ".join(joined.replace(WORD_START, " ").split())


def holds_token_lang(directory: Path) -> bool:
    """Does the folder contain a lang of tokens?"""
    return (directory / TOKENS_FILE).is_file()


def write_token_lang(lang: TokenLang, directory: Path) -> None:
    """Write a folder for `read_token_lang`."""
    directory.mkdir(parents=True, exist_ok=True)
    tokens = "".join(f"{token} {number}\n" for number, token in enumerate(lang.tokens))
    lexicon = "".join(f"{entry.word} {' '.join(entry.units)}\n" for entry in lang.lexicon)
    publish_file(directory / TOKENS_FILE, tokens.encode())
    publish_file(directory / LEXICON_FILE, lexicon.encode())
    publish_file(directory / ARPA_FILE, lang.arpa.encode())


def read_token_lang(directory: Path) -> TokenLang:
    """Read and check a folder.

    Raises:
        BadInput: naming file and line.
    """
    tokens = _read_tokens(directory / TOKENS_FILE)
    return TokenLang(
        tokens=tokens,
        lexicon=_read_lexicon(directory / LEXICON_FILE, frozenset(tokens[1:])),
        arpa=read_text(directory / ARPA_FILE, wanted=WANTED),
    )


def _read_tokens(path: Path) -> tuple[str, ...]:
    tokens: dict[str, None] = {}
    for number, line in enumerate(read_text(path, wanted=WANTED).split("\n")):
        if not line:
            continue
        token, _, found = line.rpartition(" ")
        if found != str(number) or not token or token in tokens:
            raise BadInput(f"{path}:{number + 1}: wanted `token {number}`, found {line!r}")
        tokens[token] = None
    if len(tokens) < 2 or next(iter(tokens)) != BLANK_TOKEN:
        raise BadInput(f"{path}: wanted `{BLANK_TOKEN} {BLANK}`, then a token at least")
    return tuple(tokens)


def _read_lexicon(path: Path, tokens: frozenset[str]) -> tuple[Pronunciation, ...]:
    lexicon: dict[Pronunciation, None] = {}
    for number, line in enumerate(read_text(path, wanted=WANTED).split("\n"), start=1):
        if not line:
            continue
        word, *spelling = line.split(" ")
        unknown = [token for token in spelling if token not in tokens]
        if word in RESERVED or not spelling or unknown:
            raise BadInput(
                f"{path}:{number}: {word} has {unknown or 'no tokens'}: wanted a word that is not "
                f"reserved, and tokens that {TOKENS_FILE} lists"
            )
        lexicon[Pronunciation(word, tuple(spelling))] = None
    if not lexicon:
        raise BadInput(f"{path} is empty: wanted a line `WORD token token ...` for each word")
    return tuple(lexicon)
