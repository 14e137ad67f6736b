"""essence export, essence transcribe: a student leaves the work directory, and is used.

Slow imports are inside the commands, as in cli.py. `transcribe` of an export loads no torch.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.terminal.options import opened_job, with_job, with_sources

if TYPE_CHECKING:
    from pipeline.job import Job


@click.command()
@click.argument("student")
@with_job
@click.option("--int8", is_flag=True, help="Weights and products of 8 bits.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Copy the folder to DIR, which must not exist.",
)
@click.option("--language", default="en", show_default=True, help="Of the speech, for the card.")
@click.option(
    "--license",
    "model_license",
    default="unknown",
    show_default=True,
    metavar="ID",
    help="Of the model, for the card: apache-2.0, ...",
)
@click.option("--data", default="", metavar="TEXT", help="The training speech, for the card.")
@click.option("--data-license", default="", metavar="TEXT", help="Its licence, for the card.")
def export(
    job: "Job",
    *,
    student: str,
    int8: bool,
    output: Path | None,
    language: str,
    model_license: str,
    data: str,
    data_license: str,
) -> None:
    """student -> a folder that transcribes speech without torch.

    STUDENT is its name in tables, or its directory. Reads work/student-*/, its evaluation (made if
    it is missing), the corpus and the decoding graph. Writes work/export-*/: model.onnx, front end,
    priors, graph, lang, digests and a model card (docs/deploy.md). The model is compared with the
    one in torch, and its word errors are measured, before the folder is there.

    \b
    Example: essence export k=8
    Example: essence export k=8 --int8 --output deployed
    """
    from pipeline.export import copy_export, find_student, make_export
    from stages.deploy.card import CardSettings

    card = CardSettings(
        language=language, license=model_license, data=data, data_license=data_license
    )
    found = find_student(job, student)
    place = make_export(job, found, "int8" if int8 else "float32", card)
    click.echo(place if output is None else copy_export(place, output))


@click.command()
@click.argument("model")
@click.argument("speech", nargs=-1, required=True, type=click.Path(path_type=Path))
@with_sources
@click.option(
    "--cmvn-stats",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Normalise all speech by these sums, as an export's cmvn.json.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the JSON lines to FILE.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Of the model; the search takes one.",
)
def transcribe(
    config: Path | None,
    changes: tuple[str, ...],
    *,
    model: str,
    speech: tuple[Path, ...],
    cmvn_stats: Path | None,
    output: Path | None,
    threads: int,
) -> None:
    """audio -> words, with times and confidences, as JSON lines.

    MODEL is an export, or a student (by name or directory), which is exported first. SPEECH are
    audio files, or tables (.tsv, .jsonl) with the columns id, path, speaker, start, end
    (docs/deploy.md). An utterance without a speaker is of the speaker of its file: features are
    normalised over the speech of a speaker that is given. A file that cannot be read is left out
    with a line on stderr, and the exit code is 1. The real-time factor goes to stderr.

    \b
    Example: essence transcribe deployed one.wav two.flac
    Example: essence transcribe deployed test.tsv --output words.jsonl
    """
    from pipeline.transcription import open_transcriber, refuse_output, write_transcripts
    from stages.acoustic.sound.speech_table import read_speech
    from stages.deploy.folder import is_export, refuse_other_folder

    rows = read_speech(speech)
    if output is not None:
        refuse_output(output)
    folder = Path(model)
    if is_export(folder) and (config or changes):
        raise click.UsageError(
            f"{model} is an export, which has its settings with it: --config, --set and --device "
            "are for students"
        )
    if not is_export(folder):
        refuse_other_folder(folder)
        _need_torch(model)
        with opened_job(config, changes) as job:
            folder = _exported(job, model)
    transcriber = open_transcriber(folder, cmvn_stats=cmvn_stats, threads=threads)
    num_failed = write_transcripts(transcriber, rows, output)
    if num_failed:
        sys.exit(1)


def _need_torch(student: str) -> None:
    from stages.contract.errors import MissingPart

    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as cause:
        raise MissingPart(
            f"{student} is not here: name a folder that 'essence export' made. (To name a student, "
            "the extra 'train' is needed, which has torch.)"
        ) from cause


def _exported(job: "Job", student: str) -> Path:
    from pipeline.export import find_student, make_export
    from stages.deploy.card import CardSettings

    return make_export(job, find_student(job, student), "float32", CardSettings())
