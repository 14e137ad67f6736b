"""system, corpus, graph -> errors: frame error, cross-entropy, word error rate on dev and test.

Acoustic scale and insertion penalty are chosen on dev; test is decoded once. Token sequences are
decoded greedily as well (greedy.py).
"""

from contextlib import ExitStack
from pathlib import Path

from stages.acoustic.lang.graph import read_words
from stages.acoustic.lang.lang_folder import read_lang_folder
from stages.acoustic.lang.phones import phones_of
from stages.acoustic.lang.priors import corpus_log_priors
from stages.acoustic.lang.token_lang import TokenLang
from stages.acoustic.lang.word_confidence import WordConfidence
from stages.acoustic.lang.word_spans import Spellings
from stages.contract.progress import Progress
from stages.contract.results import Evaluation, System
from stages.evaluate.decode import decoding_pool
from stages.evaluate.greedy import GreedyTally
from stages.evaluate.likelihoods import run_members, write_likelihoods
from stages.evaluate.settings import EvaluateSettings
from stages.evaluate.split_decoder import SplitDecoder
from stages.evaluate.tune import describe_edges, search
from storage.corpus.corpus_file import CorpusFile
from storage.files.leftovers import scratch_folder
from storage.files.publish import publish_file

RESULT_FILE = "result.json"
SPLITS = ("dev", "test")


def evaluate_system(
    settings: EvaluateSettings,
    *,
    system: System,
    corpus_directory: Path,
    graph_directory: Path,
    directory: Path,
    device: str,
    progress: Progress,
) -> Evaluation:
    """Decode and score one system; the result is also written to directory/result.json.

    Raises:
        BadInput, BadPosterior, MissingPart: if a model does not fit the corpus or its output is
            no distribution.
    """
    with ExitStack() as stack:
        corpora = {
            split: stack.enter_context(CorpusFile(corpus_directory / f"{split}.h5"))
            for split in SPLITS
        }
        with CorpusFile(corpus_directory / "train.h5") as train:
            log_prior_C = corpus_log_priors(train, smoothing=settings.prior_smoothing)
        scratch = stack.enter_context(scratch_folder(directory / "posteriors"))
        num_parameters = run_members(
            system,
            corpora,
            scratch,
            batch_frames=settings.batch_frames,
            device=device,
            progress=progress,
        )
        pool = stack.enter_context(decoding_pool(graph_directory, processes=settings.processes))
        words = read_words(graph_directory)
        lang = read_lang_folder(corpus_directory / "lang")
        phones = phones_of(lang)
        confidence = WordConfidence(log_prior_C, Spellings.of(lang))
        ready = {}
        for split, corpus in corpora.items():
            greedy = GreedyTally(lang) if isinstance(lang, TokenLang) else None
            path, tally, phone_tally = write_likelihoods(
                system,
                split,
                corpus,
                scratch,
                log_prior_C=log_prior_C,
                phones=phones,
                greedy=greedy,
            )
            ready[split] = SplitDecoder(
                name=system.name,
                corpus=corpus,
                likelihoods=path,
                tally=tally,
                phone_tally=phone_tally,
                greedy=greedy,
                confidence=confidence,
                pool=pool,
                words=words,
                settings=settings,
                progress=progress,
            )
        grid = settings.acoustic_scales, settings.insertion_penalties
        point = search(*grid, ready["dev"].num_errors)
        result = Evaluation(
            num_parameters=num_parameters,
            acoustic_scale=point.acoustic_scale,
            insertion_penalty=point.insertion_penalty,
            dev=ready["dev"].result(point),
            test=ready["test"].result(point),
        )
    publish_file(directory / RESULT_FILE, result.model_dump_json(indent=2).encode() + b"\n")
    progress.note(
        f"{system.name}: word error rate {result.dev.words.rate:.1%} on dev, "
        f"{result.test.words.rate:.1%} on test (scale {point.acoustic_scale:g}, "
        f"penalty {point.insertion_penalty:g}, chosen on dev)"
    )
    for edge in describe_edges(point, *grid):
        progress.note(f"{system.name}: {edge}")
    return result
