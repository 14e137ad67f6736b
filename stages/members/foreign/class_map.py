"""Class map: classes of a model -> classes of the corpus, one to one or several to one.

    # class of the model, class of the corpus
    0 2
    1 0
    2 0

Every class of the model has one line, and every class of the corpus at least one. Probabilities of
classes that become one are added. Does not load torch.
"""

from pathlib import Path

from stages.contract.errors import BadInput
from storage.files.regular_file import open_regular

COMMENT = "#"


def read_class_map(path: Path) -> tuple[int, ...]:
    """Class of the corpus for class 0, 1, 2, ... of the model.

    Raises:
        BadInput: naming the line, or the class that is missing.
    """
    found: dict[int, int] = {}
    for number, line in enumerate(_read_lines(path), start=1):
        words = line.partition(COMMENT)[0].split()
        if not words:
            continue
        if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
            raise BadInput(
                f"{path}, line {number}: found {line.strip()!r}, wanted two numbers: a class of "
                "the model and a class of the corpus"
            )
        model_class, corpus_class = map(int, words)
        if model_class in found:
            raise BadInput(f"{path}, line {number}: class {model_class} of the model comes twice")
        found[model_class] = corpus_class
    _refuse_gaps(path, set(found), of="model")
    _refuse_gaps(path, set(found.values()), of="corpus")
    return tuple(found[model_class] for model_class in range(len(found)))


def _read_lines(path: Path) -> list[str]:
    try:
        with open_regular(path) as file:
            return file.read().decode().splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise BadInput(
            f"{path} cannot be read ({cause}): let class_map name a text file of two numbers a line"
        ) from cause


def _refuse_gaps(path: Path, classes: set[int], *, of: str) -> None:
    if not classes:
        raise BadInput(f"{path} has no line: wanted one for each class of the model")
    missing = next(each for each in range(len(classes) + 1) if each not in classes)
    if missing < len(classes):
        raise BadInput(
            f"{path}: class {missing} of the {of} has no line, class {max(classes)} has: wanted "
            f"classes 0, 1, 2, ... of the {of}, each of them"
        )
