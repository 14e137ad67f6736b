"""Store check: may this student learn from this store? A cache may come from anybody.

What it cannot be taught with is refused by name; of what fits, utterances without soft labels
are left out, so that all that it learns from has both kinds of labels.
"""

from stages.contract.errors import BadInput
from stages.student.settings import StudentSettings
from stages.student.tempering import exponent_for, temperatures_of
from storage.care.match import CorpusMatch, match_corpus
from storage.corpus.corpus_file import CorpusFile
from storage.format.tiers import refuse_more_ranks
from storage.read.reader import SoftLabelStore


def check_store(
    settings: StudentSettings, store: SoftLabelStore, corpus: CorpusFile
) -> CorpusMatch:
    """Make sure that the store is of this corpus, or of more or less of it, and deep enough.

    Raises:
        StoreMismatch: when classes or contents differ, field by field.
        StorePartial: when it is a partial copy, without what is needed.
        StoreError: when it holds fewer than k ranks.
        BadInput: when the temperature is not in the store.
    """
    refuse_more_ranks(str(store.place), k=settings.k, kept=store.about.kept)
    if exponent_for(settings.temperature, store.about) is None:
        given = ", ".join(map(str, temperatures_of(store.about)))
        raise BadInput(
            f"{store.place} holds soft labels at temperature {given}; "
            f"{settings.temperature} was asked: set student.temperature to one of those, "
            "or run 'essence teacher' with it among teacher.temperatures"
        )
    match = match_corpus(store, corpus)
    # A partial copy is found out here, not in the middle of an epoch.
    store.refuse_absent([row.id for row in corpus.utterances if row.id in store], k=settings.k)
    return match
