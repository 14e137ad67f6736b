"""ARPA text -> grammar FST over words, by kaldilm in a separate process.

kaldilm exits its process if the text is damaged, and writes to stderr while it reads.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import kaldifst

from stages.contract.errors import BadInput

BACKOFF = "#0"


def compile_grammar(arpa: str, words: dict[str, int]) -> kaldifst.StdVectorFst:
    """G over the numbers in `words`, which include <eps>, #0 (back-off), <s> and </s>.

    N-grams with other words are left out.

    Raises:
        BadInput: if the text is not an ARPA model; quotes kaldilm.
    """
    with TemporaryDirectory(prefix="essence-grammar-") as folder:
        arpa_path, words_path = Path(folder) / "lm.arpa", Path(folder) / "words.txt"
        arpa_path.write_text(arpa, encoding="utf-8")
        words_path.write_text(symbol_table(words), encoding="utf-8")
        done = subprocess.run(
            [
                sys.executable,
                "-P",  # do not import from the working directory
                "-m",
                "kaldilm",
                f"--read-symbol-table={words_path}",
                f"--disambig-symbol={BACKOFF}",
                "--max-arpa-warnings=0",
                str(arpa_path),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0 or not done.stdout.strip():
        complaints = [line[4:] for line in done.stderr.splitlines() if line.startswith("[E] ")]
        complaint = complaints[0] if complaints else "it accepts no sentence"
        raise BadInput(f"lm.arpa cannot be read: {complaint}: wanted an ARPA back-off model")
    return kaldifst.compile(done.stdout)


def symbol_table(numbers: dict[str, int]) -> str:
    """Text of Kaldi's words.txt: a symbol and its number per line."""
    return "".join(f"{symbol} {number}\n" for symbol, number in numbers.items())
