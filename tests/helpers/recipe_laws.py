"""The law of each parameter under a recipe, against what the constructor of the model does to it, as it is recorded."""

import numpy as np
from scipy import stats

import arrayinit as ai
from arrayinit.laws import Truncated
from arrayinit.models.matching import matches_and_problems
from arrayinit.models.rules import BUFFER
from arrayinit.models.torch import parameters_of
from arrayinit.torch import record

__all__ = ["differences_in_law"]

AXES = ("layout", "in_axis", "out_axis", "batch_axis", "groups", "transposed")
DRAWS = 2000  # of a program, that are compared with a law
ALPHA = 1e-5
FAR = 8  # standard deviations, beyond which a truncation cuts nothing off


def differences_in_law(make, recipe_of):
    """A line for each parameter that a recipe does not draw as the constructor does.

    Args:
        make: makes the model. recipe_of: config -> rules.
    """
    with record() as start:
        model = make()
    rules = recipe_of(model.config)
    theirs, problems = matches_and_problems(parameters_of(model), start)
    assert not problems
    ours, problems = matches_and_problems(parameters_of(model), rules)
    result = []
    for mine, real in zip(ours, theirs, strict=True):
        assert mine.path == real.path
        # What a constructor freezes stays; on the meta device, where records leave it, there is nothing that can.
        stays = bool(mine.parameter.frozen) and mine.rule is not None and mine.rule.keeps_frozen
        is_left_alone = BUFFER in mine.parameter.kinds and mine.rule is None
        if is_left_alone or mine.parameter.size == 0 or stays:
            continue
        if mine.path in problems:
            result.append(f"{mine.path}: {problems[mine.path]}")
        elif not _is_equal(mine, real):
            result.append(f"{mine.path}: {mine.initializer}; really {real.initializer or real.program}")
    return result


def _is_equal(mine, real):
    if mine.job is None:
        return real.job is None and real.program is None
    if real.job is not None:
        rows = mine.parameter.zero_row, real.parameter.zero_row
        return rows[0] == rows[1] and _plain(mine.job.law) == _plain(real.job.law)
    if not real.program.is_random:
        return np.allclose(mine.initializer(mine.shape, seed=0), _values(real.program, 0), rtol=1e-6, atol=0)
    times = -(-DRAWS // mine.parameter.size)
    drawn = np.concatenate([_values(real.program, seed).ravel() for seed in range(times)])
    plain = {key: value for key, value in mine.initializer.parameters.items() if key not in AXES}
    return stats.ks_2samp(drawn, ai.spec(mine.initializer.name, **plain)((20 * DRAWS,), seed=1)).pvalue > ALPHA


def _values(program, seed):
    return np.asarray(program.values(ai.Key(seed).fold).float())


def _plain(law):
    """A law without a truncation that cuts nothing off, as at -2 and 2 with a std of 0.02."""
    if isinstance(law, Truncated) and law.low <= law.mean - FAR * law.std and law.high >= law.mean + FAR * law.std:
        return f"Normal(mean={law.mean}, std={law.std})"
    return str(law)
