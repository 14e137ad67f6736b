"""Systems: what can be evaluated, and its name in tables and report."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Literal

from pipeline.job import Job
from pipeline.shelf.recipes import student_settings
from pipeline.shelf.record import Recipe
from stages.acoustic.models.description import describe_architecture, right_context_of
from stages.acoustic.models.settings import BUILT_IN
from stages.contract.latency import Latency
from stages.contract.results import System, SystemFacts
from stages.student.settings import OF_SOFT_LABELS, StudentSettings, with_defaults
from storage.files.fingerprint import fingerprint

SHORT_NAMES = {"hard_weight": "hard"}  # in the name of a student
OFTEN_LEFT_OUT = {"right_context"}  # of recipes that leave it unlimited


def members_of(job: Job) -> Iterator[System]:
    """One system for each member of the ensemble."""
    for recipe, settings in zip(job.recipes.members, job.settings.ensemble.members, strict=True):
        yield _one_model(job, recipe, kind="member", name=recipe.shown_as, facts=settings.facts())


def ensemble_of(job: Job) -> System:
    """All members together, averaged as the teacher averages them."""
    recipes, how = job.recipes.members, job.settings.teacher
    weights, combine = how.weights or (1.0,) * len(recipes), how.combine
    members = [recipe.fingerprint for recipe in recipes]
    return System(
        name="ensemble",
        kind="ensemble",
        fingerprint=fingerprint({"members": members, "weights": weights, "combine": combine}),
        model_directories=tuple(job.shelf.place(recipe) for recipe in recipes),
        weights=weights,
        combine=combine,
        latency=_slowest([member.latency for member in members_of(job)]),
    )


def _slowest(latencies: Sequence[Latency | None]) -> Latency | None:
    """The latency of several models together; None if one is unknown."""
    known = [latency for latency in latencies if latency is not None]
    if not known or len(known) < len(latencies):
        return None
    return max(known, key=lambda latency: latency.frames)


def students_of(job: Job) -> Iterator[System]:
    """Every student of this corpus that is made; no two have the same name."""
    usual = _usual_inputs(job)
    default = job.settings.student.model_dump(mode="json")
    recipes = list(job.recipes.students_found())
    group_of = partial(_group, default=default, are_pooled=job.settings.report.pool_ensembles)
    given = {group_of(recipe): recipe.shown_as for recipe in recipes if recipe.shown_as}
    members_of_labels = _members_of_labels(job)
    taken: set[str] = set()
    for recipe in recipes:
        settings = settings_of(recipe)
        elsewhere = "".join(f" {what}={x[:6]}" for what, x in recipe.inputs.items() - usual)
        name = recipe.shown_as or student_name(settings, default) + elsewhere
        if name in taken:
            name = f"{name} [{recipe.fingerprint[:6]}]"
        taken.add(name)
        group = group_of(recipe)
        suffix = "" if job.settings.report.pool_ensembles else elsewhere
        group_name = student_name(_with_one_seed(settings, default), default) + suffix
        yield replace(
            _one_model(job, recipe, kind="student", name=name, facts=_facts(settings)),
            teacher=recipe.inputs.get("teacher"),
            ensemble=_ensemble_behind(recipe, members_of_labels),
            group=group,
            group_name=given.get(group) or group_name,
            curve=_curve(recipe, default, group_of=group_of),
            curve_name=_curve_name(recipe, default) + suffix,
        )


def _members_of_labels(job: Job) -> dict[str, str]:
    """Identity of the members that made the soft labels, or hard labels, of a fingerprint."""
    made = chain(job.shelf.found("teacher"), job.shelf.found("labels"))
    return {recipe.fingerprint: fingerprint(recipe.inputs) for recipe in made}


def _ensemble_behind(student: Recipe, members_of_labels: Mapping[str, str]) -> str:
    """Empty for a student on hard labels of the corpus, and where the labels were removed."""
    labels = (student.inputs.get(stage, "") for stage in ("teacher", "labels"))
    return next((members_of_labels[each] for each in labels if each in members_of_labels), "")


def student_recipe(job: Job, student: StudentSettings) -> Recipe:
    """The recipe of a student, shown with the name that tables give it."""
    default = job.settings.student.model_dump(mode="json")
    name = student.name or student_name(student.identity(), default)
    return replace(job.recipes.student(student), shown_as=name)


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """The settings of a student that count; those that an earlier version had not are defaults."""
    return student_settings(recipe).identity()


def fully_transcribed_of(job: Job) -> Iterator[System]:
    """Students on hard labels of the same speech with all transcripts: what is there to recover."""
    default = job.settings.student.model_dump(mode="json")
    for recipe in job.recipes.fully_transcribed():
        settings = settings_of(recipe)
        name = student_name(settings, default)
        group_name = student_name(_with_one_seed(settings, default), default)
        yield replace(
            _one_model(
                job,
                recipe,
                kind="student",
                name=f"{name}, all speech",
                facts=_facts(settings),
            ),
            full_corpus=recipe.inputs["corpus"],
            group=_group(recipe, default),
            group_name=f"{group_name}, all speech",
            curve=_curve(recipe, default, group_of=partial(_group, default=default)),
            curve_name=f"{_curve_name(recipe, default)}, all speech",
        )


def _usual_inputs(job: Job) -> Set[tuple[str, str]]:
    """Inputs of the student of the settings. A student's name tells inputs other than these."""
    labels = ("labels", job.recipes.labels.fingerprint)
    if job.settings.student.store is not None:
        return {*job.recipes.student(job.settings.student).inputs.items(), labels}
    return {
        ("corpus", job.recipes.corpus.fingerprint),
        ("teacher", job.recipes.teacher.fingerprint),
        labels,
    }


def _group(recipe: Recipe, default: dict[str, Any], *, are_pooled: bool = False) -> str:
    """The same for students that differ in their seed alone: the report pools them.

    With `are_pooled` also for those that differ in their ensemble: its soft and hard labels.
    """
    settings = _with_one_seed(settings_of(recipe), default)
    left_out = {"teacher", "labels"} if are_pooled else set()
    inputs = {key: value for key, value in recipe.inputs.items() if key not in left_out}
    return fingerprint({"settings": settings, "inputs": inputs})


def _curve(recipe: Recipe, default: dict[str, Any], *, group_of: Callable[[Recipe], str]) -> str:
    """The same for students on a trunk that differ in seed and length; empty for others."""
    if recipe.settings["training"]["schedule"] != "trunk":
        return ""
    return group_of(replace(recipe, settings=_of_usual_length(recipe.settings, default)))


def _curve_name(recipe: Recipe, default: dict[str, Any]) -> str:
    same = _of_usual_length(_with_one_seed(settings_of(recipe), default), default)
    return student_name(same, default)


def _of_usual_length(student: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    epochs = default["training"]["epochs"]
    return {**student, "training": {**student["training"], "epochs": epochs}}


def _with_one_seed(student: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    return {**student, "training": {**student["training"], "seed": default["training"]["seed"]}}


def _one_model(
    job: Job, recipe: Recipe, *, kind: Literal["member", "student"], name: str, facts: SystemFacts
) -> System:
    return System(
        name=name,
        kind=kind,
        fingerprint=recipe.fingerprint,
        model_directories=(job.shelf.place(recipe),),
        weights=(1.0,),
        facts=facts,
        latency=_latency(job, facts.right_context),
    )


def _latency(job: Job, right_context: float | None) -> Latency | None:
    if right_context is None:
        return None
    return Latency(right_context=right_context, front_end=job.settings.corpus.front_end)


def student_name(student: dict[str, Any], default: dict[str, Any]) -> str:
    """`k=8`, or `hard labels`, then the settings in which it differs from `default`."""
    on_hard_labels = student["hard_weight"] == 1
    first = "hard labels" if on_hard_labels else f"k={student['k']}"
    left_out = {"k", "name"} | ({"hard_weight", *OF_SOFT_LABELS} if on_hard_labels else set())
    training = student["training"]
    has_no_patience = training["schedule"] == "trunk" or training.get("equal_steps")
    if has_no_patience or training["patience"] >= training["epochs"]:
        left_out.add("training.patience")  # longer than the training: without effect
    unlike = differences(with_defaults(student), default)
    return " ".join([first, *(_named(key, x) for key, x in unlike if key not in left_out)])


def differences(
    found: dict[str, Any], default: dict[str, Any], *, below: str = ""
) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every setting that `default` has another value of.

    A user's own architecture is one value, since its options are not those of another.
    """
    for key in [*found, *(key for key in default if key not in found and key in OFTEN_LEFT_OUT)]:
        value: Any = found.get(key)
        usual = default.get(key)
        whole = key == "architecture" and not {value["kind"], default[key]["kind"]} <= set(BUILT_IN)
        if isinstance(value, dict) and isinstance(usual, dict) and not whole:
            yield from differences(value, usual, below=f"{below}{key}.")
        elif value != usual:
            yield f"{below}{key}", value


def _named(key: str, value: Any) -> str:
    if key == "architecture":
        return describe_architecture(value)
    last = key.rpartition(".")[2]
    if key == "blank" and isinstance(value, dict):
        return f"blank={value['weight']}"
    if value is True:
        return last.replace("_", " ")  # equal steps
    return f"{SHORT_NAMES.get(last, last)}={value}"


def _facts(student: dict[str, Any]) -> SystemFacts:
    """What the report shows of a student's settings."""
    training = student["training"]
    return SystemFacts(
        architecture=describe_architecture(student["architecture"]),
        seed=student["training"]["seed"],
        k=student.get("k"),
        hard_weight=student.get("hard_weight"),
        tail=student.get("tail"),
        temperature=student.get("temperature"),
        has_given_labels="labels" not in student,  # a recipe has them if they are others
        is_null_arm=student.get("ranks", "as_stored") != "as_stored",
        epochs=training["epochs"] if training["schedule"] == "trunk" else None,
        has_equal_steps=training.get("equal_steps", False),
        right_context=right_context_of(student["architecture"]),
    )
