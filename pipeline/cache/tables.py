"""Cache tables: what `essence cache` prints of a store."""

from typing import Any

import numpy as np

from pipeline.terminal.columns import aligned, in_bytes
from stages.report.shown_classes import Shown
from storage.care.store_audit import PERCENTILES, StoreAudit
from storage.care.verify import Verified
from storage.format.layout import fields_of
from storage.place.place import Place
from storage.read.reader import SoftLabelStore
from storage.read.soft_labels import SoftLabels
from storage.transfer.plan import what_is_here

NAMED_SHARDS = 10
NAMED_ORIGINS = 10
# A teacher repeats its labels: wrong on transcribed train in less than this share of dev's errors.
REPEATS = 1 / 3
SELDOM = 0.01  # the same where dev has no soft labels: share of the frames


def gather_info(store: SoftLabelStore) -> dict[str, Any]:
    """Everything that the headers contain."""
    about = fields_of(store.about)
    part = store.contents.part
    frames = max(1, store.num_frames)
    tiers = [
        {"ranks": [tier.first, tier.last], "bytes_opened": size, "bytes_per_frame": size / frames}
        for tier, size in zip(store.about.tiers, store.bytes_by_tier().values(), strict=True)
    ]
    return {
        "path": str(store.place),
        "digest": store.digest or None,
        "absent_shards": list(store.absent_shards),
        "num_utterances": len(store.utterances),
        "num_frames": store.num_frames,
        "num_shards": store.num_shards,
        "tiers": tiers,
        "dense_float32_bytes_per_frame": 4 * store.about.num_classes,
        "about": about,
        "part": part and {"source": part.source, "readable": what_is_here(part, store.about)},
    }


def describe_info(facts: dict[str, Any]) -> str:
    """The same as text."""
    about = facts["about"]
    state = "sealed" if facts["digest"] else f"under construction, {_absent(facts)} absent"
    size, dense = facts["tiers"][-1]["bytes_per_frame"], facts["dense_float32_bytes_per_frame"]
    ratio = f", 1/{dense / size:.0f} of dense float32" if size else ""
    if facts["part"]:
        here = ", ".join(_served(*served) for served in facts["part"]["readable"])
        state = f"sealed, a partial copy, which serves {here or 'no k'}"
        state += f"; 'essence cache pull --k' adds others from {facts['part']['source']}"
    rows = [
        ("state", state),
        ("digest", facts["digest"] or "-"),
        ("split", about["split"]),
        ("frames", f"{facts['num_frames']:,} in {facts['num_utterances']:,} utterances"),
        ("frame", f"{_shift(about['frame_shift_ms'])} (subsampling {about['subsampling']})"),
        ("classes", f"{about['num_classes']:,}, of which {_kept(about)} are kept a frame"),
        ("size", f"{size:.1f} bytes a frame{ratio}"),
        ("shards", f"{facts['num_shards']} of {about['shard_frames']:,} frames"),
        ("chunks", f"{about['chunk_frames']:,} frames"),
        ("coding", about["coding"]),
        ("corpus", about["corpus_fingerprint"]),
        ("class inventory", about["class_inventory"]),
        *[
            (f"member, weight {weight:.4g}", member)
            for member, weight in zip(about["members"], about["weights"], strict=False)
        ],
        ("combined", f"{_mean(about['combine'])}, temperature {about['temperature']:g}"),
        ("temperatures", ", ".join(f"{t:g}" for t in about["temperatures"]) or "no other"),
        ("left out", f"{len(about['left_out'])} utterances"),
        *_origin_rows(about["origin"]),
        ("written by", _writer(about["program_version"])),
    ]
    head = ("ranks up to", "bytes a frame", "bytes to open", "of the whole")
    whole = max(1, facts["tiers"][-1]["bytes_opened"])
    tiers = [
        (
            str(tier["ranks"][1]),
            f"{tier['bytes_per_frame']:.2f}",
            f"{tier['bytes_opened']:,}",
            f"{tier['bytes_opened'] / whole:.1%}",
        )
        for tier in facts["tiers"]
    ]
    left = max(len(name) for name, _ in rows)
    lines = [_plain(f"{name.ljust(left)}  {text}") for name, text in rows]
    return "\n".join([facts["path"], *lines, "", aligned([head, *tiers])])


def _kept(about: dict[str, Any]) -> str:
    """32; or 1 to 32 (mass 0.999, probability 0.0001)."""
    if about["pruning"] is None:
        return str(about["kept"])
    named = {"mass": about["pruning"]["mass"], "probability": about["pruning"]["min_prob"]}
    bounds = ", ".join(f"{name} {bound:g}" for name, bound in named.items() if bound is not None)
    return f"1 to {about['kept']} ({bounds})"


def _served(k: str, shards: str) -> str:
    """("5-8", "0-3") -> k = 5 to 8 (shards 0-3): a smaller k has a tail of its own."""
    return f"k = {k.replace('-', ' to ')} (shards {shards})"


def gather_utterances(store: SoftLabelStore) -> list[dict[str, Any]]:
    """Id, frames and shard of every utterance, in the store's order."""
    shard_of = {index: shard for shard in range(store.num_shards) for index in store.shard(shard)}
    return [
        {"id": row.id, "frames": row.num_frames, "shard": shard_of[index]}
        for index, row in enumerate(store.utterances)
    ]


def describe_utterances(rows: list[dict[str, Any]]) -> str:
    """The same as a table."""
    cells = [(str(row["id"]), str(row["frames"]), str(row["shard"])) for row in rows]
    return aligned([("utterance", "frames", "shard"), *cells])


def _writer(version: str) -> str:
    """A version of this program is a number; other programs give their names."""
    return f"essence {version}" if version[:1].isdigit() else version


def _shift(milliseconds: float) -> str:
    return f"{milliseconds:g} ms" if milliseconds else "shift not recorded"


def _mean(combine: str) -> str:
    """geometric, given transcript -> geometric mean, given transcript."""
    rule, comma, given = combine.partition(",")
    return f"{rule} mean{comma}{given}"


def _plain(text: str) -> str:
    """The same without control characters: a store may come from an untrusted source."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _origin_rows(origin: dict[str, Any] | None) -> list[tuple[str, str]]:
    """The stores that a store was merged from or cut out of; empty for a teacher's own store."""
    if origin is None:
        return []
    stores, corpora = origin["stores"], origin["corpora"]
    rows = [(f"{origin['made_by']} of", digest) for digest in stores[:NAMED_ORIGINS]]
    if len(stores) > NAMED_ORIGINS:
        rows.append(("", f"and {len(stores) - NAMED_ORIGINS} more stores"))
    return [*rows, ("corpora", f"{len(corpora)}, the first {corpora[0] if corpora else '-'}")]


def describe_verified(place: Place, found: Verified, *, data: bool) -> str:
    """What was checked, and what was found."""
    what = f"{found.num_bytes:,} bytes" if data else "sizes only"
    lines = [f"{place}: checked {what} of {found.num_checked} of {found.num_objects} objects"]
    lines += [f"damaged: {problem.text}" for problem in found.problems]
    if found.num_left_out:
        lines.append(f"a partial copy: {found.num_left_out} objects of the store are left out")
    if not found.digest:
        shards = ", ".join(map(str, found.absent_shards[:NAMED_SHARDS]))
        more = " ..." if len(found.absent_shards) > NAMED_SHARDS else ""
        lines.append(
            f"under construction: {len(found.absent_shards)} of {found.num_shards} shards are "
            f"absent: {shards}{more}"
        )
    if found.problems:
        cure = f"run 'essence cache repair {place}'" if place.folder else "copy it again"
        cure = "run the same 'essence cache pull' again" if found.num_left_out else cure
        lines.append(f"{len(found.problems)} problems: {cure}")
    elif found.digest:
        lines.append(f"{_verdict(found, data=data)}: {found.digest}")
    return "\n".join(lines)


def _verdict(found: Verified, *, data: bool) -> str:
    """What the check has shown of a sealed store without problems."""
    if not data:
        return "all sizes agree, and --data compares every byte"
    whole = found.num_checked == found.num_objects
    return "sound" if whole else "nothing wrong with these"


def describe_audit(audit: StoreAudit) -> str:
    """A line for each k."""
    head = ["k", "kept", f"{PERCENTILES[0]} % keep less than", "tail", "entropy"]
    head += ["hard label inside"] if audit.hard_label_inside else []
    head += ["ranks a frame", "frames with k"] if audit.mean_ranks else []
    head += ["bytes per frame", "to read", "of dense"]
    title = (
        f"{audit.split}: {audit.num_frames:,} frames of {audit.num_utterances:,} utterances, "
        f"K = {audit.kept} of {audit.num_classes:,} classes"
    )
    lines = [title, aligned([tuple(head), *(_audit_row(audit, k) for k in audit.kept_mass)])]
    return "\n".join(lines)


def describe_labelled(train: StoreAudit, dev: StoreAudit | None) -> str:
    """Soft against hard labels: a line for either split, and whether soft ones only repeat them."""
    known = [audit for audit in (train, dev) if audit is not None and audit.num_labelled]
    lines = [_labelled_line(audit) for audit in known]
    if repeats_labels(train, dev):
        than_dev = f", of dev in {dev.teacher_frame_error:.2%}" if dev is not None else ""
        lines.append(
            f"{train.split}: on transcribed speech the soft labels mostly repeat the hard labels: "
            f"rank 1 is another class in {train.teacher_frame_error:.2%} of its frames{than_dev}; "
            "members with folds label speech that they were not trained on"
        )
    return "\n".join(lines)


def repeats_labels(train: StoreAudit, dev: StoreAudit | None) -> bool:
    """Is rank 1 of transcribed speech the hard label, much more often than on dev?

    Without labels of dev: in more than all but SELDOM of the frames.
    """
    error = train.teacher_frame_error
    if error is None or train.split != "train":
        return False
    on_dev = dev.teacher_frame_error if dev is not None else None
    return error < (SELDOM if on_dev is None else REPEATS * on_dev)


def _labelled_line(audit: StoreAudit) -> str:
    line = (
        f"{audit.split}: rank 1 is not the hard label in {audit.teacher_frame_error:.2%} of "
        f"{audit.num_labelled:,} labelled frames"
    )
    if audit.label_nats is None:  # a summary of an earlier version
        return line
    return (
        f"{line}; mean entropy {audit.labelled_entropy:.3f} nats, "
        f"mean -ln q(label) {audit.label_nats:.3f} nats"
    )


def _audit_row(audit: StoreAudit, k: int) -> tuple[str, ...]:
    size = audit.bytes_per_frame[k]
    inside, ranks = audit.hard_label_inside.get(k), audit.mean_ranks
    return (
        str(k),
        f"{audit.kept_mass[k]:.2%}",
        f"{audit.kept_mass_percentiles[k][0]:.1%}",
        f"{audit.tail(k):.3g}",
        f"{audit.entropy[k]:.3f}",
        *([] if inside is None else [f"{inside:.2%}"]),
        *([f"{audit.mean_ranks[k]:.2f}", f"{audit.with_all_ranks[k]:.1%}"] if ranks else []),
        f"{size:.2f}",
        in_bytes(audit.num_bytes(k)),
        f"1/{audit.dense_bytes_per_frame / size if size else 0.0:.0f}",
    )


def describe_shown(shown: Shown, soft: SoftLabels) -> dict[str, Any]:
    """What the picture shows, in figures."""
    return {
        "utterance": shown.utterance,
        "frames": soft.num_frames,
        "seconds": round(soft.num_frames * shown.seconds_per_frame, 3),
        "k": soft.k,
        "classes": shown.classes_R.tolist(),
        "mean_tail": round(float(soft.tail_T.mean()), 6) if soft.num_frames else None,
        "mean_rank_1": (
            round(float(np.exp(soft.logp_TK[:, 0]).mean()), 6) if soft.num_frames else None
        ),
    }


def _absent(facts: dict[str, Any]) -> str:
    return f"{len(facts['absent_shards'])} of {facts['num_shards']} shards"
