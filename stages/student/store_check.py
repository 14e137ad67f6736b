"""Store check: may this student learn from this store? A cache may come from anybody.

What it cannot be taught with is refused by name; of what fits, utterances without soft labels
are left out, so that all that it learns from has both kinds of labels.
"""

from stages.student.settings import StudentSettings
from stages.student.soft_label_check import check_soft_labels
from storage.care.match import CorpusMatch, match_corpus
from storage.corpus.corpus_file import CorpusFile
from storage.format.temperatures import temperatures_given
from storage.read.reader import SoftLabelStore


def check_store(
    settings: StudentSettings, store: SoftLabelStore, corpus: CorpusFile
) -> CorpusMatch:
    """Make sure that the store is of this corpus, or of more or less of it, and deep enough.

    Raises:
        StoreMismatch: when classes or contents differ, field by field.
        StorePartial: when it is a partial copy, without what is needed.
        StoreError: when k or the temperature is not in the store.
    """
    about = store.about
    given = temperatures_given(about.temperature, about.temperatures)
    check_soft_labels(settings, where=str(store.place), kept=about.kept, temperatures=given)
    match = match_corpus(store, corpus)
    # A partial copy is found out here, not in the middle of an epoch.
    store.refuse_absent([row.id for row in corpus.utterances if row.id in store], k=settings.k)
    return match
