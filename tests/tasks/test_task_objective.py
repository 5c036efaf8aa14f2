import pytest

from bertjax.config import Classification, QuestionAnswering
from bertjax.tasks.task_objective import decisive_figure


@pytest.mark.parametrize(
    ("settings", "figure"),
    [
        (Classification(metric="f1"), "f1"),
        (QuestionAnswering(metric="exact_match"), "exact_match"),
        (QuestionAnswering(metric="f1", unanswerable=True), "best_f1"),
    ],
)
def test_the_best_step_is_chosen_by_what_will_be_reported(settings, figure):
    assert decisive_figure(settings) == figure
