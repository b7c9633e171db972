"""Whether arrays are draws of the law that a plan has for them; what the tests of recipes ask of both sides."""

import math
import warnings

import numpy as np
from scipy import stats

from arrayinit.laws import Constant, Formula, Normal, Orthogonal, Packed, Quantile, Truncated, Uniform
from arrayinit.laws.formulas import blocks
from arrayinit.laws.regions import box
from arrayinit.models.plans import Plan
from arrayinit.specs import law_of

ENOUGH = 2000  # samples of a law, for a standard error of its standard deviation of 1.6%
LEAST_P = 1e-7  # of a Kolmogorov-Smirnov test
SIGMAS = 5


def check_plan(plan: Plan, models: list[dict[str, np.ndarray]]) -> None:
    """Every parameter of every model is a draw of what the plan says; they are the same parameters."""
    for model in models:
        assert set(model) == {entry.path for entry in plan}
    for entry in plan:
        arrays = [np.asarray(model[entry.path]) for model in models]
        assert {array.shape for array in arrays} == {entry.shape}, entry.path
        if entry.initializer is None:
            assert all((array == arrays[0]).all() for array in arrays), entry.path
            continue
        law, geometry = law_of(entry.initializer, entry.shape, entry.parameter.dtype)
        row = entry.parameter.zero_row
        if row is not None:
            assert all((array[row] == 0).all() for array in arrays), f"{entry.path}: row {row} is not 0"
            arrays = [np.delete(array, row, axis=0) for array in arrays]
        _check(entry.path, law, geometry, arrays)


def _check(path, law, geometry, arrays):
    match law:
        case Constant(value):
            for array in arrays:
                np.testing.assert_array_equal(array, np.asarray(value, array.dtype), path)
        case Uniform() | Normal() | Truncated():
            _check_samples(path, law, np.concatenate([array.ravel() for array in arrays]).astype(np.float64))
        case Formula():
            exact = np.empty(geometry.shape)
            for position, values in blocks(law, geometry, box(geometry.shape, ...), "float64"):
                exact[position] = values
            slack = 3e-7 * np.abs(exact).max()  # others round to float32 on their way
            for array in arrays:
                np.testing.assert_allclose(array, exact, rtol=0, atol=slack, err_msg=path)
        case Quantile(function, arguments):
            _check_quantiles(path, function, arguments, np.concatenate([array.ravel() for array in arrays]))
        case Orthogonal(gain):
            for array in arrays:
                matrix = array.transpose(geometry.order).reshape(geometry.sizes[0], -1).astype(np.float64)
                matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
                np.testing.assert_allclose(matrix @ matrix.T, gain**2 * np.eye(len(matrix)), atol=1e-4, err_msg=path)
            # Not the identity, and not one sign: a uniform direction has coordinates like a normal's.
            rest = np.concatenate([array.ravel() for array in arrays])
            assert abs(rest.mean()) < SIGMAS * rest.std() / math.sqrt(rest.size), path
            assert np.abs(rest).max() < gain or rest.size < 100, path
        case Packed(pieces):
            covered = np.zeros(geometry.shape, bool)
            for number, piece in enumerate(pieces):
                where = tuple(
                    start if count is None else slice(start, start + step * count, step)
                    for start, step, count in zip(piece.box.starts, piece.box.steps, piece.box.counts, strict=True)
                )
                covered[where] = True
                _check(f"{path}[{number}]", piece.law, piece.geometry, [array[where] for array in arrays])
            for array in arrays:
                assert (array[~covered] == 0).all(), path
        case _:
            raise AssertionError(f"{path}: no check of {law}")


def _check_quantiles(path, function, arguments, x):
    assert x.size >= ENOUGH, f"{path}: {x.size} samples say little; construct the model more often"
    p = np.concatenate([np.geomspace(1e-9, 1e-3, 300), np.linspace(1e-3, 0.5, 1000)])
    lower, upper = (function(p, end, *arguments) for end in (False, True))
    quantiles, levels = np.concatenate([lower, upper[::-1]]), np.concatenate([p, 1 - p[::-1]])
    test = stats.kstest(x.astype(np.float64), lambda values: np.interp(values, quantiles, levels))
    assert test.pvalue > LEAST_P, f"{path}: not the shape of {function.__name__}{arguments}"


def _check_samples(path, law, x):
    n = x.size
    assert n >= ENOUGH, f"{path}: {n} samples say little; construct the model more often"
    match law:
        case Uniform(low, high):
            exact = stats.uniform(low, high - low)
        case Normal(mean, std):
            exact = stats.norm(mean, std)
        case Truncated(mean, std, low, high):
            exact = stats.truncnorm((low - mean) / std, (high - mean) / std, mean, std)
    low, high = exact.support()
    if math.isfinite(low) and high - low < 100 * exact.std():
        slack = (high - low) * 1e-6  # float32 rounds
        assert low - slack <= x.min(), (path, law, x.min())
        assert x.max() <= high + slack, (path, law, x.max())
    if isinstance(law, Uniform):  # and the bounds are reached
        gap = (high - low) * 20 / n
        assert x.min() < low + gap, (path, law, x.min())
        assert x.max() > high - gap, (path, law, x.max())
    mean, variance, kurtosis = (float(m) for m in exact.stats(moments="mvk"))
    said = f"{path}: {law}, but mean {x.mean():.6g} and std {x.std():.6g} of {n} samples"
    assert abs(x.mean() - mean) < SIGMAS * math.sqrt(variance / n), said
    error = math.sqrt((kurtosis + 2) / n) / 2  # of the standard deviation, relative
    assert abs(x.std() / math.sqrt(variance) - 1) < SIGMAS * error, said
    assert stats.kstest(x[:200_000], exact.cdf).pvalue > LEAST_P, f"{path}: not the shape of {law}"


def tensors(module):
    """Path -> array, of parameters and buffers, tied ones once."""
    from arrayinit.models.torch import parameters_of

    paths = [parameter.path for parameter in parameters_of(module)]
    every = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    return {path: every[path].detach().numpy() for path in paths}


def check_module(make, rules, times):
    """Modules that torch draws, and modules that rules draw, against the plan of the rules."""
    from arrayinit.models.torch import init_module_

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        theirs = [tensors(make()) for _ in range(times)]
        module = make()
    plan = init_module_(module, rules, seed=0, dry_run=True)
    check_plan(plan, theirs)
    for parameter in module.parameters():
        parameter.data.fill_(float("nan"))
    ours = [{path: x.copy() for path, x in tensors(init_module_(module, rules, seed=k)).items()} for k in range(times)]
    check_plan(plan, ours)
    return plan
