"""Store check: may this student learn from this store? A cache may come from anybody.

What it cannot be taught with is refused by name; of what fits, utterances without soft labels
are left out, so that all that it learns from has both kinds of labels.
"""

from collections.abc import Sequence

from stages.student.settings import StudentSettings
from storage.care.match import CorpusMatch, match_corpus
from storage.corpus.corpus_file import CorpusFile
from storage.format.temperatures import refuse_other_temperature, temperatures_given
from storage.format.tiers import refuse_more_ranks
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


def check_soft_labels(
    settings: StudentSettings,
    *,
    where: str,
    kept: int,
    temperatures: Sequence[float],
    deeper: str = "name a store that keeps more",
) -> None:
    """Make sure that soft labels of `kept` ranks at these temperatures are what a student reads.

    The only such check: of a store that is there, and of the one that a teacher is going to make.
    `deeper` is how to get more ranks.

    Raises:
        StoreError: when k or the temperature is not among them.
    """
    cure = f"lower student.k, or {deeper}"
    refuse_more_ranks(where, k=settings.k, kept=kept, cure=cure)
    refuse_other_temperature(where, temperature=settings.temperature, given=temperatures)
