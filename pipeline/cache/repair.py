"""Repair of a store on the shelf: its artefact is under construction again, like the store."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from pipeline.shelf.freshness import reopened
from storage.care.repair import RepairPlan, plan_repair, repair
from storage.format.records import HEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was done, or would be. `store` is where the store lies afterwards.

    `again` is the command that makes what it lacks.
    """

    store: str
    again: str
    done: bool
    damaged_shards: tuple[int, ...]
    taken_out: tuple[str, ...]
    written_again: tuple[str, ...]
    quarantine: str | None
    unsealed: bool


def repair_in_place(store: Path, *, dry_run: bool) -> Repair:
    """Take damaged shards out; where there are any, its artefact loses its name on the shelf.

    The artefact goes first: a repair that is killed leaves nothing that counts as fresh.
    """
    plan = plan_repair(store)
    if dry_run or (plan.is_empty and (store / HEAD).is_file()):
        return _describe(store, plan, quarantine=None, done=not dry_run)
    with reopened(store.absolute().parent) if plan.unseals else nullcontext(store.parent) as folder:
        place = folder / store.name
        quarantine = repair(place, plan)
    return _describe(place, plan, quarantine=quarantine, done=True)


def _describe(store: Path, plan: RepairPlan, *, quarantine: Path | None, done: bool) -> Repair:
    made_by = plan.made_by
    return Repair(
        store=str(store),
        again=f"the same 'essence cache {made_by}' again" if made_by else "'essence teacher'",
        done=done,
        damaged_shards=plan.damaged_shards,
        taken_out=plan.out,
        written_again=tuple(plan.rewrite),
        quarantine=str(quarantine) if quarantine and plan.out else None,
        unsealed=plan.unseals,
    )


def describe_repair(found: Repair) -> str:
    """The same as text."""
    if not (found.taken_out or found.written_again):
        return f"{found.store}: nothing is damaged"
    shards = ", ".join(map(str, found.damaged_shards)) or "none"
    verb = "were" if found.done else "would be"
    lines = [
        f"{found.store}: damaged shards: {shards}",
        f"{len(found.taken_out)} objects {verb} taken out"
        + (f", to {found.quarantine}" if found.quarantine else ""),
        f"{len(found.written_again)} metadata objects {verb} written again",
    ]
    if found.done and found.unsealed:
        lines.append(
            f"the store is under construction: run {found.again} to make what it lacks, "
            "then 'essence cache verify --data'"
        )
    return "\n".join(lines)
