"""comparisons -> what the latencies of the page count, in a few sentences."""

from stages.report.statistics.comparisons import Comparisons


def describe_latency(comparisons: Comparisons) -> str:
    """Empty if no latency is known."""
    known = [group.first.system.latency for group in comparisons.groups]
    front_end = next((latency.front_end for latency in known if latency), None)
    if front_end is None:
        return ""
    text = (
        f"Latency: right context of the model, {front_end.look_ahead} frames of splicing and "
        f"deltas, and {front_end.frames_per_row - 1} until the next row; of {front_end.frame_ms:g} "
        "ms each."
    )
    if front_end.normalised_over:
        text += (
            f" The features are normalised by the mean over each {front_end.normalised_over}, "
            "which looks ahead without a limit: for the latencies shown, corpus.features.cmvn must "
            "be none or global."
        )
    return text
