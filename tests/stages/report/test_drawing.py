"""Drawing: axes are labelled in plain numbers."""

import pytest

from stages.report.drawing import house_style, log_along_y, new_figure


@pytest.mark.parametrize("values", [(0.39, 0.17, 0.03), (2.5, 52.7, 3000.0), (0.4, 0.2)])
def test_logarithmic_axis_has_plain_numbers(values: tuple[float, ...]) -> None:
    with house_style():
        figure = new_figure(width=4, height=3)
        axes = figure.add_subplot()
        axes.plot(range(len(values)), values)
        log_along_y(axes)
        figure.canvas.draw()
        labels = axes.yaxis.get_majorticklabels() + axes.yaxis.get_minorticklabels()
    texts = [label.get_text() for label in labels if label.get_text()]
    assert texts
    assert [float(text) for text in texts]
