"""results, histories, example -> pictures of the page, as SVG."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from stages.report.accounts import labelled_share
from stages.report.drawing import house_style
from stages.report.example import Example
from stages.report.figures.calibration_figure import draw_calibration, draw_reliability
from stages.report.figures.curve_figure import draw_curves
from stages.report.figures.difference_figure import draw_differences
from stages.report.figures.fidelity_figure import draw_agreement, draw_divergence, draw_gradients
from stages.report.figures.kept_mass_figure import draw_kept_mass
from stages.report.figures.pareto_figure import draw_bytes_cost, draw_parameter_cost
from stages.report.figures.posteriorgram_figure import draw_posteriorgram
from stages.report.figures.rank_figures import draw_bytes, draw_ranks
from stages.report.figures.training_figure import draw_frame_errors, draw_losses
from stages.report.histories import History
from stages.report.inputs import ReportInputs
from stages.report.statistics.comparisons import Comparisons
from stages.report.svg import to_svg


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What pictures show."""

    inputs: ReportInputs
    comparisons: Comparisons
    histories: Mapping[str, History]
    example: Example | None


def _kept_mass(drawn: Drawn) -> Figure | None:
    audit = drawn.inputs.audit_of("dev")
    return draw_kept_mass(audit) if audit and audit.is_complete else None


PICTURES: dict[str, Callable[[Drawn], Figure | None]] = {
    "differences": lambda d: draw_differences(d.comparisons),
    "word-errors": lambda d: draw_ranks(d.comparisons),
    "cost-bytes": lambda d: draw_bytes_cost(d.comparisons, d.inputs.audit_of("train")),
    "cost-parameters": lambda d: draw_parameter_cost(d.comparisons),
    "curves": lambda d: draw_curves(d.comparisons, labelled_share=labelled_share(d.inputs.corpus)),
    "reliability": lambda d: draw_reliability(d.comparisons),
    "calibration": lambda d: draw_calibration(d.comparisons),
    "agreement": lambda d: draw_agreement(d.comparisons),
    "divergence": lambda d: draw_divergence(d.comparisons),
    "gradients": lambda d: draw_gradients(d.comparisons),
    "kept-mass": _kept_mass,
    "bytes": lambda d: draw_bytes(d.inputs.teacher) if d.inputs.teacher else None,
    "training-loss": lambda d: draw_losses(d.comparisons, d.histories),
    "training-error": lambda d: draw_frame_errors(d.comparisons, d.histories),
    "posteriorgram": lambda d: draw_posteriorgram(d.example) if d.example else None,
}


def draw_pictures(drawn: Drawn) -> dict[str, str]:
    """The SVG of each picture that there are data for, by its name."""
    with house_style():
        figures = {name: draw(drawn) for name, draw in PICTURES.items()}
        return {name: to_svg(figure, name=name) for name, figure in figures.items() if figure}
