"""Draws follow their laws: goodness of fit, moments of every scheme, tails, independence.

Seeds are 0 (or 0, 1, 2, ... where a test needs several), chosen before anything was drawn; so every result is
deterministic. A test fails where p < 1e-6, or where a moment is more than 5.5 standard errors off (p = 4e-8). There are
about 400 tests of fit and 2500 moments: a right generator would fail any of them at all with a probability below 5e-4.
"""

import math

import numpy as np
import pytest
from scipy import stats

import arrayinit as ai

INF = math.inf
LEVEL = 1e-6  # of each test of fit
SIGMAS = 5.5  # standard errors that a moment may be off
SIZES = [10**6, pytest.param(10**7, marks=pytest.mark.slow)]


def accepts(p):
    assert p > LEVEL


def fits(x, law):
    """Kolmogorov-Smirnov and chi-square (1000 equally likely bins) of a float32 or float64 sample."""
    accepts(stats.kstest(x, law.cdf).pvalue)
    bins = 1000
    edges = law.ppf(np.arange(1, bins) / bins)
    counts = np.bincount(np.searchsorted(edges, x, side="right"), minlength=bins)
    accepts(stats.chisquare(counts).pvalue)


def unit(x, law):
    """x as a uniform number by its own law."""
    return law.cdf(x.astype(np.float64))


def has_moments(x, std, excess):
    """Mean 0 and this standard deviation, where the fourth moment is (excess + 3) std^4."""
    x = np.asarray(x, np.float64).ravel()
    assert abs(x.mean()) < SIGMAS * std / math.sqrt(x.size)
    assert abs(np.mean(x**2) / std**2 - 1) < SIGMAS * math.sqrt((excess + 2) / x.size)
    assert abs(np.mean((x / std) ** 3)) < SIGMAS * math.sqrt(15 / x.size)


class TestFit:
    @pytest.mark.parametrize("n", SIZES)
    @pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (-1.0, 1.0), (-0.03, 0.7), (5.0, 5.5)])
    def test_uniform(self, a, b, n):
        fits(ai.uniform((n,), a, b, seed=0, dtype="float64"), stats.uniform(a, b - a))

    @pytest.mark.parametrize("n", SIZES)
    @pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.1, 0.02), (-100.0, 3.0)])
    def test_normal(self, mean, std, n):
        fits(ai.normal((n,), mean, std, seed=0, dtype="float64"), stats.norm(mean, std))

    @pytest.mark.filterwarnings("ignore:mean is more than 2 std")
    @pytest.mark.parametrize("n", SIZES)
    @pytest.mark.parametrize(
        ("a", "b"),
        [(-2, 2), (-0.1, 0.1), (3, INF), (5, 9), (6.5, 7), (-INF, -3), (-INF, INF), (0, INF), (-9, -8.5), (-1, 3)],
    )
    def test_truncated(self, a, b, n):
        x = ai.trunc_normal((n,), a=a, b=b, seed=0, dtype="float64")
        # By symmetry in the lower tail, where scipy's functions keep their digits.
        x, a, b = (-x, -b, -a) if a > 0 else (x, a, b)
        fits(x, stats.truncnorm(a, b))

    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_narrow_dtypes(self, dtype):
        """Rounded to a dtype, each value has the probability of what is rounded to it."""
        n = 10**6
        for draw, law in [(ai.uniform, stats.uniform(-1, 2)), (ai.normal, stats.norm())]:
            keywords = {"a": -1.0, "b": 1.0} if draw is ai.uniform else {}
            x = draw((n,), seed=0, dtype=dtype, **keywords)
            edges = np.unique(np.linspace(-3, 3, 401).astype(dtype))[1:-1]
            # A value counts as above an edge e where it was above the middle of e and the value before it.
            middles = (edges.astype(np.float64) + np.nextafter(edges, np.array(-INF, dtype)).astype(np.float64)) / 2
            expected = np.diff(law.cdf(middles), prepend=0, append=1) * n
            counts = np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1)
            likely = expected > 5
            accepts(
                stats.chisquare(counts[likely], expected[likely] * counts[likely].sum() / expected[likely].sum()).pvalue
            )
            assert counts[expected == 0].sum() == 0

    @pytest.mark.parametrize("n", SIZES)
    def test_bits(self, n):
        words = ai.bits((n,), seed=0)
        ones = np.array([np.count_nonzero(words >> np.uint32(bit) & 1) for bit in range(32)])
        accepts(stats.chi2.sf(((ones - n / 2) ** 2 / (n / 4)).sum(), 32))
        for shift in (0, 8, 16, 24):
            accepts(stats.chisquare(np.bincount(words >> np.uint32(shift) & 255, minlength=256)).pvalue)

    @pytest.mark.parametrize("dtype", ["complex64", "complex128"])
    def test_complex_parts(self, dtype):
        z = ai.normal((10**6,), 0.5, 2.0, seed=0, dtype=dtype)
        parts = stats.norm(0.5, math.sqrt(2))
        fits(z.real, parts)
        fits(z.imag, parts)
        centred = z - (0.5 + 0.5j)
        assert abs(np.mean(np.abs(centred) ** 2) / 4 - 1) < SIGMAS / 1e3
        fits(np.abs(centred).astype(np.float64) ** 2, stats.expon(scale=4))
        fits(np.angle(centred).astype(np.float64), stats.uniform(-math.pi, 2 * math.pi))
        box = ai.uniform((10**6,), -1.0, 3.0, seed=0, dtype=dtype)
        fits(box.real, stats.uniform(-1, 4))
        fits(box.imag, stats.uniform(-1, 4))


@pytest.mark.slow
def test_tails_of_a_hundred_million_normals():
    n, step = 10**8, 10**7
    counts = dict.fromkeys((3.0, 4.0, 5.0, 5.5, 6.0), 0)
    upper = dict.fromkeys(counts, 0)
    for start in range(0, n, step):
        x = ai.normal((n,), seed=0, index=np.s_[start : start + step])
        far = x[np.abs(x) > 3]
        for z in counts:
            counts[z] += int(np.count_nonzero(np.abs(far) > z))
            upper[z] += int(np.count_nonzero(far > z))
    for z, count in counts.items():
        wanted = 2 * stats.norm.sf(z) * n
        accepts(2 * min(stats.poisson.cdf(count, wanted), stats.poisson.sf(count - 1, wanted)))
        accepts(stats.binomtest(upper[z], max(count, 1)).pvalue if count else 1.0)
    assert counts[5.0] > 20  # about 57 are expected: the tail is there


# shape, keywords -> fan_in, fan_out, worked out by hand.
FANS = [
    ((600, 400), {}, 400, 600),
    ((600, 400), {"layout": "io"}, 600, 400),
    ((64, 48, 5, 7), {}, 48 * 35, 64 * 35),
    ((5, 7, 48, 64), {"layout": "hwio"}, 48 * 35, 64 * 35),
    ((128, 32, 3, 9), {"groups": 4}, 32 * 27, 32 * 27),
    ((1024, 1, 9, 9), {"groups": 1024}, 81, 81),
    ((96, 48, 5, 5), {"transposed": True}, 96 * 25, 48 * 25),
    ((96, 48, 5, 5), {"transposed": True, "groups": 3}, 32 * 25, 48 * 25),
    ((10, 100, 200), {"in_axis": 1, "out_axis": 2, "batch_axis": 0}, 100, 200),
    ((10, 100, 200), {"layout": "boi"}, 200, 100),
    ((20, 30, 8, 40), {"layout": "ioio"}, 160, 1200),
    ((300, 1000), {"in_axis": -2, "out_axis": -1}, 300, 1000),
]
MODES = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
    "fan_geo_avg": lambda fan_in, fan_out: math.sqrt(fan_in * fan_out),
}
EXCESS = {"uniform": -1.2, "normal": 0.0, "truncated_normal": -0.63}  # excess kurtosis
GAINS = [
    ("linear", 0.0, 1.0),
    ("conv2d", 0.0, 1.0),
    ("sigmoid", 0.0, 1.0),
    ("tanh", 0.0, 5 / 3),
    ("relu", 0.0, math.sqrt(2)),
    ("leaky_relu", 0.0, math.sqrt(2)),
    ("leaky_relu", 0.3, math.sqrt(2 / 1.09)),
    ("selu", 0.0, 0.75),
]


def check_scheme(x, std, distribution):
    has_moments(x, std, EXCESS[distribution])
    largest = float(np.abs(x).max())
    if distribution == "normal":
        assert 3.9 * std < largest < 6.35 * std
    else:
        bound = (math.sqrt(3) if distribution == "uniform" else 2 / 0.87962566103423978) * std
        assert 0.999 * bound < largest <= bound * (1 + 1e-7)


@pytest.mark.parametrize(("shape", "keywords", "fan_in", "fan_out"), FANS)
class TestMoments:
    def test_xavier(self, shape, keywords, fan_in, fan_out):
        std = math.sqrt(2 / (fan_in + fan_out))
        check_scheme(ai.xavier_uniform(shape, seed=0, **keywords), std, "uniform")
        check_scheme(ai.xavier_normal(shape, seed=0, **keywords), std, "normal")
        check_scheme(ai.xavier_uniform(shape, 0.25, seed=0, **keywords), std / 4, "uniform")
        check_scheme(ai.xavier_normal(shape, 3.0, seed=0, **keywords), std * 3, "normal")

    def test_lecun(self, shape, keywords, fan_in, fan_out):
        check_scheme(ai.lecun_uniform(shape, seed=0, **keywords), 1 / math.sqrt(fan_in), "uniform")
        check_scheme(ai.lecun_normal(shape, seed=0, **keywords), 1 / math.sqrt(fan_in), "normal")

    @pytest.mark.parametrize("mode", MODES)
    def test_kaiming_modes(self, shape, keywords, fan_in, fan_out, mode):
        std = math.sqrt(2 / MODES[mode](fan_in, fan_out))
        check_scheme(ai.kaiming_uniform(shape, mode=mode, seed=0, **keywords), std, "uniform")
        check_scheme(ai.kaiming_normal(shape, mode=mode, seed=0, **keywords), std, "normal")

    @pytest.mark.parametrize("mode", MODES)
    def test_variance_scaling(self, shape, keywords, fan_in, fan_out, mode):
        for distribution in EXCESS:
            std = math.sqrt(1.5 / MODES[mode](fan_in, fan_out))
            check_scheme(ai.variance_scaling(shape, 1.5, mode, distribution, seed=0, **keywords), std, distribution)


@pytest.mark.parametrize(("nonlinearity", "slope", "gain"), GAINS)
def test_moments_of_nonlinearities(nonlinearity, slope, gain):
    keywords = {"a": slope, "nonlinearity": nonlinearity, "seed": 0}
    check_scheme(ai.kaiming_uniform((500, 400), **keywords), gain / 20, "uniform")
    check_scheme(ai.kaiming_normal((500, 400), **keywords), gain / 20, "normal")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64", "complex128"])
def test_moments_of_every_scheme_in_every_dtype(dtype):
    """E|w|^2 is the variance that the scheme states, also where w is complex."""
    schemes = [
        (ai.xavier_uniform, math.sqrt(2 / 900), "uniform", {}),
        (ai.xavier_normal, math.sqrt(2 / 900), "normal", {}),
        (ai.kaiming_uniform, math.sqrt(2 / 400), "uniform", {}),
        (ai.kaiming_normal, math.sqrt(2 / 400), "normal", {}),
        (ai.lecun_uniform, 1 / 20, "uniform", {}),
        (ai.lecun_normal, 1 / 20, "normal", {}),
        (ai.normal, 3.0, "normal", {"std": 3.0}),
        *[(ai.variance_scaling, 1 / 20, kind, {"distribution": kind}) for kind in EXCESS],
    ]
    for draw, std, kind, keywords in schemes:
        x = draw((500, 400), seed=0, dtype=dtype, **keywords)
        assert x.dtype == np.dtype(dtype)
        if x.dtype.kind == "c":
            assert abs(np.mean(np.abs(x) ** 2) / std**2 - 1) < SIGMAS * math.sqrt(1 / x.size)
            has_moments(x.real, std / math.sqrt(2), EXCESS[kind])
            has_moments(x.imag, std / math.sqrt(2), EXCESS[kind])
            assert abs(np.mean(x.real * x.imag)) < SIGMAS * std**2 / 2 / math.sqrt(x.size)
        else:
            has_moments(x, std, EXCESS[kind])


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize(("mean", "std", "a", "b"), [(0, 1, -2, 2), (1, 2, 0, 3), (0, 1, 3, INF), (-1, 0.5, -INF, 0.2)])
def test_moments_of_truncated_draws(mean, std, a, b):
    x = ai.trunc_normal((10**6,), mean, std, a, b, seed=0, dtype="float64")
    law = stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std)
    assert abs(x.mean() - law.mean()) < SIGMAS * law.std() / 1e3
    fourth = float(law.stats("k")) + 2
    assert abs(x.var() / law.var() - 1) < SIGMAS * math.sqrt(fourth) / 1e3


NEIGHBOUR = [1, 2, 3, 4, 5, 6, 7, 8]
LAWS = {
    "uniform": (lambda shape, **keywords: ai.uniform(shape, -1.0, 1.0, **keywords), stats.uniform(-1, 2)),
    "normal": (ai.normal, stats.norm()),
    "truncated": (lambda shape, **keywords: ai.trunc_normal(shape, **keywords), stats.truncnorm(-2, 2)),
}


def independent(x, y):
    """Correlations of values, of magnitudes and of squares with signs, and a chi-square on a 24 x 24 grid."""
    n = len(x)
    for f, g in [(x, y), (abs(x - 0.5), abs(y - 0.5)), (x, abs(y - 0.5)), (abs(x - 0.5), y)]:
        assert abs(np.corrcoef(f, g)[0, 1]) < SIGMAS / math.sqrt(n)
    cells = (x * 24).astype(int) * 24 + (y * 24).astype(int)
    accepts(stats.chisquare(np.bincount(np.minimum(cells, 575), minlength=576)).pvalue)


@pytest.mark.parametrize(
    ("kind", "n"),
    [
        *[(kind, 10**6) for kind in LAWS],
        *[pytest.param(kind, 10**7, marks=pytest.mark.slow) for kind in ("uniform", "normal")],
    ],
)
class TestIndependence:
    def test_neighbours(self, kind, n):
        draw, law = LAWS[kind]
        u = unit(draw((n + 8,), seed=0), law)
        for lag in NEIGHBOUR:
            independent(u[:n], u[lag : n + lag])

    def test_keys(self, kind, n):
        draw, law = LAWS[kind]
        first = unit(draw((n,), seed=0), law)
        others = [
            {"seed": 1},
            {"seed": 2**32},
            {"seed": 2**63},
            {"seed": 0, "name": "a"},
            {"seed": 0, "name": "b"},
            {"seed": 0, "name": 0},
            {"seed": 0, "name": 1},
        ]
        drawn = [unit(draw((n,), **keywords), law) for keywords in others]
        for other in drawn:
            independent(first, other)
        independent(drawn[3], drawn[4])
        independent(drawn[5], drawn[6])
        independent(drawn[3], drawn[5])

    def test_rows_and_columns(self, kind, n):
        draw, law = LAWS[kind]
        side = math.isqrt(n)
        u = unit(draw((side, side), seed=0), law)
        independent(u[:-1].ravel(), u[1:].ravel())
        independent(u[:, 0], u[0, :])


@pytest.mark.parametrize("n", [2000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_many_keys_at_one_index_are_uniform(n):
    """The first elements of many streams are themselves a sample: over seeds, over names, over integers."""
    laws = stats.norm()
    streams = [
        [{"seed": k} for k in range(n)],
        [{"seed": 0, "name": k} for k in range(n)],
        [{"seed": 0, "name": f"layer.{k}"} for k in range(n)],
        [{"seed": k << 32} for k in range(n)],
    ]
    columns = np.array([[unit(ai.normal((2,), **keywords), laws) for keywords in stream] for stream in streams])
    for column in columns:
        for position in (0, 1):
            accepts(stats.kstest(column[:, position], "uniform").pvalue)
        assert abs(np.corrcoef(column[1:, 0], column[:-1, 0])[0, 1]) < SIGMAS / math.sqrt(n)
        assert abs(np.corrcoef(column[:, 0], column[:, 1])[0, 1]) < SIGMAS / math.sqrt(n)


def test_sums_of_a_row_have_the_variance_of_independent_elements():
    """Central limit: any common sign, repeat or antithetic pair among 1000 elements would show in their sum."""
    x = ai.normal((4000, 1000), seed=0, dtype="float64")
    accepts(stats.kstest(x.sum(axis=1) / math.sqrt(1000), "norm").pvalue)
    accepts(stats.kstest(x.sum(axis=0) / math.sqrt(4000), "norm").pvalue)
    squares = (x**2).sum(axis=1)
    accepts(stats.kstest(squares, stats.chi2(1000).cdf).pvalue)


class TestSparse:
    @pytest.mark.parametrize(
        ("rows", "columns", "sparsity", "zeros"),
        [(100, 50, 0.1, 10), (100, 50, 0.07, 7), (7, 9, 0.5, 4), (64, 3, 0.0, 0), (64, 3, 1.0, 64), (3, 8, 0.01, 1)],
    )
    def test_exact_counts(self, rows, columns, sparsity, zeros):
        for seed in range(5):
            x = ai.sparse((rows, columns), sparsity, seed=seed)
            assert (np.count_nonzero(x == 0, axis=0) == zeros).all()
            values = ai.normal((rows, columns), 0.0, 0.01, seed=seed)
            assert (x == np.where(x == 0, np.float32(0), values)).all()

    def test_layout_is_only_layout(self):
        x = ai.sparse((30, 20), 0.2, seed=0)
        assert (ai.sparse((20, 30), 0.2, seed=0, layout="io") == x.T).all()

    def test_positions_are_uniform(self):
        rows, columns, zeros = 50, 40_000, 10
        hit = ai.sparse((rows, columns), zeros / rows, seed=0) == 0
        counts, share = hit.sum(axis=1), zeros / rows
        # Drawn without replacement: counts of rows have variance columns * share * (1 - share), covariance -that / 49.
        statistic = ((counts - columns * share) ** 2).sum() / (columns * share * (1 - share)) * (rows - 1) / rows
        accepts(stats.chi2.sf(statistic, rows - 1))
        assert statistic > stats.chi2.ppf(LEVEL, rows - 1)

    def test_every_subset_is_as_likely(self):
        columns = 100_000
        hit = ai.sparse((6, columns), 0.5, seed=0) == 0
        subsets = np.bincount((hit * 2 ** np.arange(6)[:, None]).sum(axis=0), minlength=64)
        assert (subsets[[bin(k).count("1") != 3 for k in range(64)]] == 0).all()
        accepts(stats.chisquare(subsets[subsets > 0]).pvalue)
        assert np.count_nonzero(subsets) == 20

    def test_columns_and_values_are_independent_of_places(self):
        x = ai.sparse((50, 40_000), 0.5, std=2.0, seed=0)
        hit = x == 0
        together = np.count_nonzero(hit[:, 1:] & hit[:, :-1])
        pairs = hit[:, 1:].size
        assert abs(together - pairs / 4) < SIGMAS * math.sqrt(pairs * 3 / 16)
        fits(x[~hit].astype(np.float64), stats.norm(0, 2))
        lost = ai.normal((50, 40_000), 0.0, 2.0, seed=0)[hit]
        fits(lost.astype(np.float64), stats.norm(0, 2))


def gram_error(x, gain, shape=None):
    """The largest deviation from gain^2 I of the smaller Gram matrix of x as (out, everything else), relative."""
    matrix = x.reshape(x.shape[0], -1) if shape is None else x.reshape(shape)
    matrix = matrix.astype(np.complex128 if np.iscomplexobj(matrix) else np.float64)
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.conj().T
    gram = matrix @ matrix.conj().T
    return np.abs(gram - gain**2 * np.eye(len(gram))).max() / gain**2


class TestOrthogonal:
    @pytest.mark.parametrize(
        ("dtype", "tolerance"),
        [("float32", 2e-6), ("float64", 1e-13), ("complex64", 2e-6), ("complex128", 1e-13), ("float16", 3e-3)],
    )
    @pytest.mark.parametrize(
        "shape", [(1, 1), (2, 2), (1, 7), (7, 1), (64, 64), (129, 257), (300, 130), (32, 16, 3, 3), (8, 40, 2)]
    )
    @pytest.mark.parametrize("gain", [1.0, 1.6])
    def test_rows_or_columns_are_orthogonal(self, shape, dtype, tolerance, gain):
        x = ai.orthogonal(shape, gain, seed=0, dtype=dtype)
        assert x.shape == shape
        assert gram_error(x, gain) < tolerance

    def test_layout_and_batch(self):
        x = ai.orthogonal((3, 3, 16, 32), seed=0, layout="hwio")
        assert gram_error(np.moveaxis(x, 3, 0), 1.0) < 2e-6
        assert (x == np.transpose(ai.orthogonal((32, 16, 3, 3), seed=0), (2, 3, 1, 0))).all()
        batch = ai.orthogonal((5, 20, 30), seed=0, layout="boi")
        assert max(gram_error(one, 1.0) for one in batch) < 2e-6
        assert all(np.abs(batch[i] - batch[j]).max() > 0.1 for i in range(5) for j in range(i))

    def test_gain_scales_and_zero_gain_is_zero(self):
        x = ai.orthogonal((6, 9), seed=0, dtype="float64")
        assert np.abs(ai.orthogonal((6, 9), -2.5, seed=0, dtype="float64") + 2.5 * x).max() < 1e-14
        assert (ai.orthogonal((6, 9), 0.0, seed=0) == 0).all()

    @staticmethod
    def haar(count, rows, columns, dtype="float64"):
        return ai.orthogonal((count, rows, columns), seed=0, dtype=dtype, layout="boi")

    @pytest.mark.parametrize("n", [1, 2, 3, 8, 17])
    def test_sign_of_the_determinant_over_seeds(self, n):
        found = [np.linalg.det(ai.orthogonal((n, n), seed=seed, dtype="float64")) for seed in range(400)]
        assert np.abs(np.abs(found) - 1).max() < 1e-12
        accepts(stats.binomtest(int(np.sum(np.array(found) > 0)), 400).pvalue)

    @pytest.mark.parametrize(("rows", "columns"), [(3, 3), (5, 5), (3, 6), (6, 3), (20, 20)])
    def test_every_entry_of_haar_matrices(self, rows, columns):
        """x^2 ~ Beta(1/2, (n - 1)/2), n the longer side, for each entry; its sign is fair."""
        x, n = self.haar(3000, rows, columns), max(rows, columns)
        law = stats.beta(0.5, (n - 1) / 2)
        for i in {0, 1, rows - 1}:
            for j in {0, 1, columns - 1}:
                accepts(stats.kstest(x[:, i, j] ** 2, law.cdf).pvalue)
                accepts(stats.binomtest(int(np.count_nonzero(x[:, i, j] > 0)), len(x)).pvalue)

    def test_an_entry_of_a_large_matrix_is_normal(self):
        entries = np.concatenate([ai.orthogonal((64, 64), seed=seed)[3, ::16] for seed in range(1000)])
        accepts(stats.kstest(entries * 8, "norm").pvalue)

    @pytest.mark.parametrize("n", [12, 13])
    def test_traces_are_normal_before_and_after_a_rotation(self, n):
        """tr(A W) ~ N(0, 1) up to terms that vanish faster than exponentially in n, for every orthogonal A."""
        x = self.haar(4000, n, n)
        fixed = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]
        for a in (np.eye(n), fixed, np.eye(n)[::-1], np.diag([-1.0] + [1.0] * (n - 1))):
            accepts(stats.kstest(np.einsum("ij,kji->k", a, x), "norm").pvalue)
            assert abs(np.mean(np.einsum("ij,kji->k", a, x) ** 2) - 1) < SIGMAS * math.sqrt(2 / len(x))
        # tr(W^2) has mean 1 and variance 2 (Diaconis and Shahshahani 1994).
        second = np.einsum("kij,kji->k", x, x)
        assert abs(second.mean() - 1) < SIGMAS * math.sqrt(2 / len(x))
        assert abs(second.var() / 2 - 1) < SIGMAS * math.sqrt(2.5 / len(x))

    def test_unitary_matrices(self):
        """|u|^2 ~ Beta(1, n - 1) with a uniform phase; the phase of det is uniform; tr is a complex normal."""
        n = 6
        x = self.haar(4000, n, n, "complex128")
        for i, j in [(0, 0), (0, n - 1), (n - 1, 0), (n - 1, n - 1), (2, 3)]:
            accepts(stats.kstest(np.abs(x[:, i, j]) ** 2, stats.beta(1, n - 1).cdf).pvalue)
            accepts(stats.kstest(np.angle(x[:, i, j]) / (2 * math.pi) + 0.5, "uniform").pvalue)
        accepts(stats.kstest(np.angle(np.linalg.det(x)) / (2 * math.pi) + 0.5, "uniform").pvalue)
        trace = np.trace(x, axis1=1, axis2=2)
        accepts(stats.kstest(np.abs(trace) ** 2, "expon").pvalue)
        # Eigenvalues repel, so that their angles are more even than a sample: only too large a statistic is a fault.
        angles = np.angle(np.linalg.eigvals(x)).ravel()
        accepts(stats.chisquare(np.histogram(angles, 40, (-math.pi, math.pi))[0]).pvalue)
