"""Whether a model holds what its constructor draws: it is compared with several real constructions of it.

No law is assumed. What is the same in all real constructions must be equal here; what differs is compared as samples,
of each tensor and of all tensors that a record draws by one law. A comparison fails where its p-value is below
:data:`ALPHA` over the number of comparisons of the model, so a right model fails with a probability below `ALPHA`.
"""

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import nn

__all__ = ["ALPHA", "differences"]

ALPHA = 1e-6
MOST = 20_000  # samples of ours in a comparison of distributions
MOMENTS_FROM = 200  # samples, below which means and standard deviations are not near enough to normal


@dataclass(frozen=True)
class _Samples:
    """What one tensor, or several of one law, hold here and in all real constructions."""

    name: str
    ours: np.ndarray
    theirs: np.ndarray
    is_group: bool = False

    def p_values(self) -> Iterator[tuple[str, float]]:
        """Each comparison and its p-value."""
        ours, theirs = self.ours, self.theirs
        n, m = ours.size, theirs.size
        if self.is_group:  # one for each law, since these take most of the time
            method = "exact" if n < MOMENTS_FROM else "asymp"
            step = -(-n // MOST)
            yield "distribution", float(stats.ks_2samp(ours[::step], theirs[::step], method=method).pvalue)
        for x, y in ((ours, theirs), (-ours, -theirs)):
            # The k largest of all n + m samples are ours with a probability of at most (n / (n + m))**k.
            yield "bounds, too wide", (n / (n + m)) ** int((x > y.max()).sum())
            yield "bounds, too narrow", (m / (n + m)) ** int((y > x.max()).sum())
        if n < MOMENTS_FROM:
            return
        pooled = np.concatenate([ours - ours.mean(), theirs - theirs.mean()])
        spread = pooled.std()
        error = spread * math.sqrt(1 / n + 1 / m)
        yield "mean", 2 * float(stats.norm.sf(abs(ours.mean() - theirs.mean()) / error))
        # The variance of a sample variance is (kurtosis - 1) * variance**2 / n; that of its root a quarter.
        kurtosis = float(((pooled / spread) ** 4).mean())
        error = math.sqrt(max(kurtosis - 1, 0.1) / 4 * (1 / n + 1 / m))
        yield "std", 2 * float(stats.norm.sf(abs(ours.std() - theirs.std()) / spread / error))

    def __str__(self) -> str:
        return f"{self.name}: {_summary(self.ours)}; really {_summary(self.theirs)}"


def differences(ours: nn.Module, real: list[nn.Module], law_of: Callable[[str], Hashable]) -> list[str]:
    """What is wrong with a model, a line for each tensor or law; nothing where it could be one of the real ones.

    Args:
        law_of: path -> what is equal for tensors that should follow one law. Their samples are also compared together,
            which shows small deviations; wrong answers only make that weaker.
    """
    result = _structure(ours, real[0])
    if result:
        return result
    everything = [_once(model) for model in (ours, *real)]
    drawn: dict[str, _Samples] = {}
    for path, x in everything[0].items():
        theirs = [each[path] for each in everything[1:]]
        is_fixed = torch.stack([_equal(theirs[0], each) for each in theirs[1:]]).all(0)
        if not x.is_floating_point() and not is_fixed.all():  # few values, which coincide by chance
            is_fixed = torch.zeros_like(is_fixed)
        if not _equal(x, theirs[0])[is_fixed].all():
            result.append(
                f"{path}: {_summary(_numbers(x[is_fixed]))}; really always {_summary(_numbers(theirs[0][is_fixed]))}"
            )
        if not is_fixed.all():
            varies = ~is_fixed
            drawn[path] = _Samples(path, _numbers(x[varies]), np.stack([_numbers(each[varies]) for each in theirs]))
    ours_alike, *alike = [_alike({path: each[path] for path in drawn}) for each in everything]
    result += [
        f"{path} and {ours_alike[path]} hold the same values; really {path} and {alike[0][path]} do"
        for path in drawn
        if ours_alike[path] != alike[0][path] and all(each == alike[0] for each in alike)
    ]
    return result + _compared(drawn, ours_alike, law_of)


def _compared(drawn: dict[str, _Samples], alike: dict[str, str], law_of: Callable[[str], Hashable]) -> list[str]:
    """The comparisons of samples that fail."""
    laws: dict[Hashable, list[_Samples]] = {}
    for path, samples in drawn.items():
        if alike[path] == path:
            laws.setdefault(law_of(path), []).append(samples)
    comparisons = [_together(samples.name, [samples]) for samples in drawn.values()]
    comparisons += [
        _together(f"{len(group)} by {law}, from {group[0].name}", group, is_group=True) for law, group in laws.items()
    ]
    values = [(p, kind, samples) for samples in comparisons for kind, p in samples.p_values()]
    return [f"{samples} ({kind}, p={p:.1e})" for p, kind, samples in values if not p >= ALPHA / len(values)]


def _together(name: str, group: list[_Samples], is_group: bool = False) -> _Samples:
    """The samples of a group; each real construction gives the same elements."""
    ours = np.concatenate([each.ours for each in group])
    theirs = np.concatenate([each.theirs for each in group], axis=1)
    return _Samples(name, ours, theirs.ravel(), is_group)


def _structure(ours: nn.Module, real: nn.Module) -> list[str]:
    """Parameters and buffers that there should not be, or that are of another kind, or not tied as they should be."""
    mine, theirs = _facts(ours), _facts(real)
    return [
        f"{path}: {mine.get(path, 'missing')}; really {theirs.get(path, 'missing')}"
        for path in {**theirs, **mine}
        if mine.get(path) != theirs.get(path)
    ]


def _every(model: nn.Module) -> dict[str, torch.Tensor]:
    """Path -> tensor; those that are tied under each of their paths."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def _once(model: nn.Module) -> dict[str, torch.Tensor]:
    """Path -> tensor without a gradient, complex ones as real ones; those that are tied under their first path."""
    first: dict[int, str] = {}
    for path, x in _every(model).items():
        first.setdefault(id(x), path)
    tensors = {path: x.detach() for path, x in _every(model).items() if first[id(x)] == path}
    return {path: torch.view_as_real(x) if x.is_complex() else x for path, x in tensors.items()}


def _facts(model: nn.Module) -> dict[str, str]:
    """Path -> what can be told of a tensor without its values."""
    first: dict[int, str] = {}
    saved = model.state_dict(keep_vars=True)
    facts = {}
    for path, x in _every(model).items():
        words = [
            type(x).__name__, "x".join(map(str, x.shape)), str(x.dtype), x.device.type,
            "requires grad" if x.requires_grad else "frozen", "saved" if path in saved else "not saved",
            f"tied to {first[id(x)]}" if id(x) in first else "", _norm_of(model, path),
        ]  # fmt: skip
        first.setdefault(id(x), path)
        facts[path] = ", ".join(filter(None, words))
    return facts


def _norm_of(model: nn.Module, path: str) -> str:
    """Of the direction that weight_norm keeps: whether it is the weight, as when the magnitude is its norm."""
    above, _, name = path.partition(".parametrizations.")
    weight, _, original = name.partition(".")
    if original != "original1":
        return ""
    x = getattr(model.get_submodule(above), weight)
    return "the weight" if torch.allclose(x, model.get_parameter(path), rtol=1e-4) else "not the weight"


def _equal(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Elements that are equal, or both not numbers."""
    return (x == y) | ((x != x) & (y != y))


def _alike(tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """Path -> the first path with the same values, shape aside."""
    first: dict[bytes, str] = {}
    return {path: first.setdefault(x.contiguous().cpu().numpy().tobytes(), path) for path, x in tensors.items()}


def _numbers(x: torch.Tensor) -> np.ndarray:
    return x.double().numpy().ravel()


def _summary(x: np.ndarray) -> str:
    if x.size == 0 or x.min() == x.max():
        return f"{x.size} times {x.flat[0] if x.size else 'nothing'}"
    return f"mean {x.mean():.5g}, std {x.std():.5g}, from {x.min():.5g} to {x.max():.5g}"
