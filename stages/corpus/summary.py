"""CorpusSummary -> lines for the terminal."""

from stages.contract.results import CorpusSummary, SplitSummary

SHOWN_LOSS = 0.01  # share of state visits
SHOWN_REASONS = 10  # of a split: audio that is skipped has a reason for each file


def summary_lines(summary: CorpusSummary) -> list[str]:
    """The summary as a table, followed by warnings and by the utterances that were left out."""
    lines = [
        f"{summary.num_classes} classes, {summary.num_words} words in the lexicon",
        f"{'split':<6}{'utterances':>11}{'speakers':>9}{'hours':>8}{'rows':>10}{'words':>8}",
    ]
    lines += [
        f"{split.split:<6}{split.num_utterances:>11}{split.num_speakers:>9}"
        f"{split.hours:>8.2f}{split.num_frames:>10}{split.num_words:>8}"
        for split in summary.splits
    ]
    lines += [
        f"hard labels in {split.split}: {split.labelled.num_utterances} of {split.num_utterances} "
        f"utterances, {split.labelled.hours:.2f} of {split.hours:.2f} hours"
        for split in summary.splits
        if split.labelled is not None
    ]
    lines += [
        f"copies in {split.split}: "
        + "".join(f"{name} {count}, " for name, count in split.copies.items())
        + f"of {split.num_utterances} utterances"
        for split in summary.splits
        if split.copies
    ]
    lines += [
        f"{split.heard_speakers} of {split.num_speakers} speakers of {split.split} are also in "
        "train: its error rates do not show performance on new speakers"
        for split in summary.splits
        if split.heard_speakers
    ]
    lines += [
        f"{split.lost_visits:.1%} of the state visits in the alignment of {split.split} are "
        "shorter than corpus.features.subsample and are skipped, so that the remaining labels "
        "may not be a path through the decoding graph: set corpus.features.subsample=1"
        for split in summary.splits
        if split.lost_visits >= SHOWN_LOSS
    ]
    return lines + [line for split in summary.splits for line in _left_out_lines(split)]


def _left_out_lines(split: SplitSummary) -> list[str]:
    lines = []
    for reason, ids in split.left_out.items():
        shown = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
        lines.append(f"left out of {split.split}, {reason}: {len(ids)} ({shown})")
    more = list(split.left_out.values())[SHOWN_REASONS:]
    if more:
        count = sum(map(len, more))
        lines[SHOWN_REASONS:] = [
            f"left out of {split.split}, {len(more)} other reasons: {count} (all: summary.json)"
        ]
    return lines
