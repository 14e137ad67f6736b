"""EvaluateSettings: search limits that the decoder cannot use are refused."""

import pytest
from pydantic import ValidationError

from stages.evaluate.settings import EvaluateSettings


@pytest.mark.parametrize("max_active", [150, 200])
def test_max_active_not_above_min_active_is_refused(max_active):
    message = f"min_active is 200, max_active {max_active}: wanted min_active below max_active"
    with pytest.raises(ValidationError, match=message):
        EvaluateSettings(max_active=max_active)


def test_max_active_may_be_low_with_a_lower_min_active():
    settings = EvaluateSettings(max_active=50, min_active=49)
    assert settings.min_active < settings.max_active
