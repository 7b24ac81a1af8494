"""Fits against times that were made by the law itself, with and without noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stageplan as sp

COUNTS = np.array([1, 2, 3, 4, 6, 8, 12, 16])


def law(seconds, fraction, counts=COUNTS):
    return seconds * (1 - fraction + fraction / counts)


@given(st.floats(0, 1), st.floats(1e-9, 1e3))
def test_exact_times_give_the_fraction_back(fraction, seconds):
    fit = sp.fit_parallel_fraction(COUNTS, law(seconds, fraction))
    assert fit.fraction == pytest.approx(fraction, abs=1e-9)
    assert fit.seconds == pytest.approx(seconds)
    assert fit.residual < 1e-9
    assert isinstance(fit.fraction, float)


def test_two_counts_are_enough():
    fit = sp.fit_parallel_fraction([1, 4], [10.0, 4.0])
    assert fit.fraction == pytest.approx(0.8)
    assert fit.residual == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.97])
def test_noise_of_two_percent_moves_the_fraction_little(fraction):
    rng = np.random.default_rng(3)
    fits = [
        sp.fit_parallel_fraction(COUNTS, law(2.0, fraction) * rng.normal(1, 0.02, COUNTS.size))
        for _ in range(200)
    ]
    errors = np.array([fit.fraction for fit in fits]) - fraction
    assert abs(errors.mean()) < 0.003
    assert errors.std() < 0.02
    assert np.mean([fit.residual for fit in fits]) == pytest.approx(0.02 * np.sqrt(6 / 8), rel=0.1)


def test_the_fraction_keeps_its_bounds():
    slower = sp.fit_parallel_fraction([1, 2, 4], [1.0, 1.2, 1.5])
    assert slower.fraction == 0
    assert slower.residual > 0.1
    superlinear = sp.fit_parallel_fraction([1, 2, 4], [1.0, 0.4, 0.1])
    assert superlinear.fraction == 1
    assert superlinear.residual > 0.1


def test_no_other_fraction_fits_better():
    rng = np.random.default_rng(5)
    for _ in range(50):
        times = law(1.0, rng.random()) * rng.normal(1, 0.3, COUNTS.size).clip(0.2)
        fit = sp.fit_parallel_fraction(COUNTS, times)
        for fraction in np.linspace(0, 1, 101):
            shape = law(1.0, fraction) / times
            seconds = shape.sum() / (shape @ shape)  # the best for this fraction
            assert np.sqrt(np.mean((seconds * shape - 1) ** 2)) >= fit.residual - 1e-12


def test_a_column_a_layer():
    times = np.stack([law(2.0, 0.9), law(1e-3, 0.0), law(5.0, 1.0)], axis=1)
    fit = sp.fit_parallel_fraction(COUNTS, times)
    np.testing.assert_allclose(fit.fraction, [0.9, 0, 1], atol=1e-12)
    np.testing.assert_allclose(fit.seconds, [2.0, 1e-3, 5.0])
    assert fit.residual.shape == (3,)


def test_a_sum_of_two_laws_has_their_joint_fraction():
    fit = sp.fit_parallel_fraction(COUNTS, law(3.0, 0.95) + law(1.0, 0.5))
    assert fit.fraction == pytest.approx((3.0 * 0.95 + 1.0 * 0.5) / 4.0)
    assert fit.seconds == pytest.approx(4.0)


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_overlapped_laws_are_split_at_the_bend(noise):
    rng = np.random.default_rng(11)
    counts = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32])
    times = np.maximum(law(10.0, 0.98, counts), law(3.0, 0.4, counts)) * rng.normal(1, noise, counts.size)
    few, many = sp.fit_overlapped_fractions(counts, times)
    assert few.fraction == pytest.approx(0.98, abs=1e-9 + 5 * noise)
    assert few.seconds == pytest.approx(10.0, rel=1e-9 + 5 * noise)
    assert many.fraction == pytest.approx(0.4, abs=1e-9 + 20 * noise)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_single_law_cannot_be_split(noise):
    rng = np.random.default_rng(13)
    sentences = []
    for _ in range(40):
        try:
            sp.fit_overlapped_fractions(COUNTS, law(10.0, 0.9) * rng.normal(1, noise, COUNTS.size))
        except ValueError as error:
            sentences.append(str(error))
    assert len(sentences) >= 38  # noise may look like a bend now and then
    assert set(sentences) == {
        "seconds do not bend; they must be of two laws, one at few devices and one at many"
    }


@pytest.mark.parametrize(
    ("devices", "seconds", "sentence"),
    [
        ([1, 2], [1.0], r"seconds has shape \(1,\); it must be \(2,\) or \(2, layers\)"),
        ([[1, 2]], [[1.0, 2.0]], r"devices has shape \(1, 2\); it must be a list of counts"),
        ([1, 1], [1.0, 2.0], "devices has 1 different counts; it must have at least 2"),
        ([], [], "devices has 0 different counts"),
        ([1, 2.5], [1.0, 2.0], r"devices\[1\] is 2.5; it must be a whole number, 1 or more"),
        ([0, 2], [1.0, 2.0], r"devices\[0\] is 0; it must be a whole number"),
        ([1, 2], [1.0, 0.0], r"seconds\[1\] is 0; it must be more than 0 seconds and finite"),
        ([1, 2], [np.inf, 1.0], r"seconds\[0\] is inf; it must be more than 0"),
        ([1, 2], [[1.0, 2.0], [1.0, np.nan]], r"seconds\[1, 1\] is nan; it must be more than 0"),
        ([1, 2], [[1.0], [1.0, 2.0]], "seconds is ragged"),
    ],
)
def test_bad_times_are_refused(devices, seconds, sentence):
    with pytest.raises(ValueError, match=sentence):
        sp.fit_parallel_fraction(devices, seconds)


def test_values_that_are_not_numbers_are_refused():
    with pytest.raises(TypeError, match="devices has dtype <U1; it must be an array of real numbers"):
        sp.fit_parallel_fraction(["1", "2"], [1.0, 2.0])


def test_too_little_to_part_two_laws():
    with pytest.raises(
        ValueError, match="devices has 4 different counts; it must have at least 5 to part two"
    ):
        sp.fit_overlapped_fractions([1, 2, 4, 8], [8.0, 4.0, 3.0, 3.0])
    with pytest.raises(
        ValueError, match=r"seconds has shape \(8, 2\); it must be one time for each of 8 counts"
    ):
        sp.fit_overlapped_fractions(COUNTS, np.ones((8, 2)))
