"""Curves of a log: terms that were never active, gaps, and means of segments."""

from __future__ import annotations

import json

import numpy as np
import pytest

from enface_tools.report.curves import LOSSES, POINTS, read_log, training_plots
from enface_tools.report.run_page import write_report


def text(events):
    return "".join(json.dumps(event) + "\n" for event in events)


def started(stage, *terms, step=0):
    return {"event": "stage_started", "step": step, "stage": stage, "stage_step": 0, "terms": list(terms)}


def logged(step, stage="main", **values):
    return {
        "event": "step",
        "step": step,
        "stage": stage,
        "values": {f"term/{name}": item for name, item in values.items()},
    }


def curve(steps_and_values):
    log = read_log(text(logged(step, l1=float(value)) for step, value in steps_and_values))
    ((trace,),) = [panel.traces for panel in training_plots(log)[LOSSES][0].panels]
    return trace


EVENTS = [
    started("warm", "l1", "late"),
    logged(10, "warm", l1=1.0),
    started("main", "l1", "late", "rare", step=10),
    logged(20, "main", l1=1.0, late=2.0),
    logged(30, "main", l1=1.0),
    started("last", "l1", step=30),
]


def test_terms_that_were_never_active_are_named_by_stage():
    assert read_log(text(EVENTS)).inactive == [("late", "warm"), ("rare", "main")], "stage last has logged nothing yet"
    assert read_log(text([*EVENTS, started("main", "l1", "late", "rare"), logged(40, rare=1)])).inactive == [
        ("late", "warm")
    ]


def test_a_loss_is_labelled_with_its_component_in_every_stage():
    events = [
        {**started("warm", "l1"), "losses": {"l1": "l1"}},
        logged(10, "warm", l1=1.0),
        {**started("main", "l1", "gan", step=10), "losses": {"l1": "l1 (charbonnier)", "gan": "gan (hinge)"}},
        logged(20, "main", l1=1.0),
    ]
    log = read_log(text(events))
    assert [plot.title for plot in training_plots(log)[LOSSES]] == ["l1 / l1 (charbonnier)"]
    assert log.inactive == [("gan (hinge)", "main")]


def test_the_page_lists_the_losses_of_each_stage(evaluations, tmp_path):
    events = [{**started("main", "l1"), "losses": {"l1": "l1 (charbonnier)"}}, logged(10, "main", l1=1.0)]
    page = write_report(evaluations.write_run(tmp_path / "runs" / "x" / "1", events)).read_text(encoding="utf-8")
    assert "main from step 0 (losses: l1 (charbonnier))" in page


def test_the_page_says_which_stage_stopped_early(evaluations, tmp_path):
    reason = "stopped early at step 10: lpips did not improve on 0.2 in 5 validations"
    events = [*EVENTS, {"event": "stopped_early", "step": 10, "stage": "warm", "reason": reason}]
    page = write_report(evaluations.write_run(tmp_path / "runs" / "x" / "1", events)).read_text(encoding="utf-8")
    assert f"Stage warm {reason}." in page


def test_the_page_names_terms_that_were_never_active(evaluations, tmp_path):
    run = evaluations.write_run(tmp_path / "runs" / "x" / "1", EVENTS)
    page = write_report(run).read_text(encoding="utf-8")
    assert "The loss rare was never active in the logged intervals of stage main." in page
    assert "loss l1 was never active" not in page


def test_means_of_segments_do_not_cover_both_sides_of_a_gap():
    steps = [*range(1, 10 * POINTS), *range(100 * POINTS, 110 * POINTS)]
    trace = curve([(step, 0.0 if step < 50 * POINTS else 1.0) for step in steps])
    assert len(trace.x) == POINTS
    assert set(trace.y) == {0.0, 1.0, None}
    assert trace.y.count(None) == 1
    assert all(x is None or x < 10 * POINTS or x >= 100 * POINTS for x in trace.x)


def test_means_of_segments_keep_the_mean_of_all():
    values = np.random.default_rng(0).random(10 * POINTS)
    trace = curve(list(enumerate(values)))
    assert np.mean(trace.y) == pytest.approx(values.mean(), abs=1e-4)
    assert trace.x[0] == 4.5


def test_a_term_active_in_one_interval_only_has_a_point():
    log = read_log(text([logged(step, l1=1.0) for step in range(1, 9)] + [logged(9, l1=1.0, rare=0.5)]))
    (trace,) = training_plots(log)[LOSSES][1].panels[0].traces
    assert (trace.x, trace.y) == ([9], [0.5])


@pytest.mark.parametrize(("weight", "panels"), [(1, 1), (3, 2)])
def test_small_values_with_a_weight_are_drawn_twice(weight, panels):
    small = 1e-9
    values = {"term/x": small, "weighted/x": small * weight}
    log = read_log(text([{"event": "step", "step": step, "stage": "main", "values": values} for step in (1, 2)]))
    assert len(training_plots(log)[LOSSES][0].panels) == panels
