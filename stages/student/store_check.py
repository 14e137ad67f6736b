"""Store check: may this student learn from this store? A cache may come from anybody.

What it cannot be taught with is refused by name; of what fits, utterances without soft labels
are left out, so that all that it learns from has both kinds of labels.
"""

from stages.errors import BadInput
from stages.student.settings import StudentSettings
from storage.corpus_file import CorpusFile
from storage.corpus_match import CorpusMatch, match_corpus
from storage.store_reader import SoftLabelStore


def check_store(
    settings: StudentSettings, store: SoftLabelStore, corpus: CorpusFile
) -> CorpusMatch:
    """Make sure that the store is of this corpus, or of more or less of it, and deep enough.

    Raises:
        StoreMismatch: when classes or contents differ, field by field.
        BadInput: when k or the temperature is not in the store.
    """
    if settings.k > store.about.kept:
        raise BadInput(
            f"{store.path} holds K={store.about.kept}, k={settings.k} was asked: lower student.k "
            "or run 'essence teacher' with a larger teacher.kept"
        )
    if settings.temperature != store.about.temperature:
        raise BadInput(
            f"{store.path} holds soft labels at temperature {store.about.temperature}, "
            f"{settings.temperature} was asked: set student.temperature to that, "
            "or run 'essence teacher' with another teacher.temperature"
        )
    return match_corpus(store, corpus)
