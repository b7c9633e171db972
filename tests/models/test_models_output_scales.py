"""The report of scaled layers: rows, text, equality."""

import copy
import pickle

import numpy as np
import pytest

from arrayinit.models.output_scales import LayerScale, Method, Moments, OutputScales, finished, settle

ROWS = (
    LayerScale("encoder.layers.0.fc1", 0.5, 1.0, 0.25, 2.0, 1, 1, ""),
    LayerScale("encoder.layers.0.fc2", 0.25, 1.0, -1e-8, (3.0, 5.0), 1, 2, "runs 2 times, of which the first counts"),
    LayerScale("", None, None, None, 1.0, 0, 0, "unchanged: it never runs on its own in the forward pass"),
)


def test_text():
    assert str(OutputScales(ROWS)) == "\n".join(
        [
            "layer                 std before  std after  mean after  factor  iterations  calls",
            "----------------------------------------------------------------------------------",
            "encoder.layers.0.fc1         0.5          1        0.25       2           1      1",
            "encoder.layers.0.fc2        0.25          1      -1e-08  3 to 5           1      2",
            "                               -          -           -       1           0      0",
            "----------------------------------------------------------------------------------",
            "3 layers, 2 scaled",
            "! encoder.layers.0.fc2: runs 2 times, of which the first counts",
            "! the model itself: unchanged: it never runs on its own in the forward pass",
        ]
    )
    assert repr(OutputScales(ROWS)) == str(OutputScales(ROWS))
    assert max(map(len, OutputScales(ROWS[:1]).to_text(60).splitlines())) <= 60


def test_a_report_is_a_sequence_of_rows():
    report = OutputScales(ROWS)
    assert len(report) == 3
    assert list(report) == list(ROWS)
    assert report[0] is report["encoder.layers.0.fc1"] is ROWS[0]
    assert report[1:] == ROWS[1:]
    assert report.scaled == ROWS[:2]
    with pytest.raises(KeyError, match="fc3"):
        report["fc3"]
    with pytest.raises(IndexError):
        report[3]


def test_reports_compare_by_value_and_are_pickled():
    report = OutputScales(ROWS)
    assert pickle.loads(pickle.dumps(report)) == report == copy.deepcopy(report)
    assert report != OutputScales(ROWS[:2])
    assert hash(report) == hash(OutputScales(ROWS))


class Layer:
    """A layer of the test's own, whose output has these standard deviations in turn."""

    def __init__(self, *stds):
        self.stds, self.divisors = list(stds), []

    def measure(self):
        return Moments(np.zeros(()), np.array(self.stds.pop(0)), 1e-7, True, 5)

    def divide(self, std, mean):
        assert mean is None
        self.divisors.append(float(std))
        return ""


@pytest.mark.parametrize(
    ("stds", "divisors"),
    [
        ((2.0, 1.0), [2.0]),
        ((0.5, 1.2, 1.01), [0.5, 1.2]),
        ((1.04,), []),
        ((3.0, 3.0, 3.0, 3.0), [3.0, 3.0, 3.0]),
        ((0.0,), []),
    ],
)
def test_settle_divides_until_the_variance_is_near_1(stds, divisors):
    layer = Layer(*stds)
    row = settle(LayerScale("fc", None, None, None, 1.0, 0, 1, ""), layer, Method(0.1, 3))
    assert layer.divisors == divisors
    assert not layer.stds
    assert (row.before, row.after, row.iterations) == (stds[0], stds[-1], len(divisors))
    np.testing.assert_allclose(row.factor, 1 / np.prod(divisors))


def test_the_tolerance_is_that_of_the_variance():
    assert Method(0.1, 1).is_settled(np.array(1.04))
    assert not Method(0.1, 1).is_settled(np.array(1.05))  # 1.05**2 = 1.1025
    assert not Method(0.0, 1).is_settled(np.array(1.0))


def test_finished_takes_the_last_measurement():
    last = Moments(np.array(0.5), np.array(1.0), 1e-7, True, 5)
    report = finished(ROWS, {"encoder.layers.0.fc1": last, "": "stays"}, Method(0.1, 3))
    assert report[0].mean == 0.5
    assert report[1:] == ROWS[1:]
