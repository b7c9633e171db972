"""A model, and rules if there are some -> a table of its parameters, with what looks wrong."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrayinit.reports.results import Report

__all__ = ["report"]


def report(model: Any, rules: Any = None, *, values: bool = True, progress: bool | None = None) -> "Report":
    """A table of the parameters of a model: shapes, rules, fans, expected and measured mean and std, what looks wrong.

        print(ai.report(model))                  # plain text; rich.print for colours, a notebook shows a table
        ai.report(model, rules).findings         # as data: path, kind, text
        Path("init.html").write_text(ai.report(model, rules).to_html())

    std = sqrt(E|w - E w|^2). Where rules are given, expected numbers are those of :func:`arrayinit.describe`, and
    parameters that no rule matches, or that can't be drawn as it says, are findings, not errors. Nothing is drawn, and
    the model stays as it is.

    What is found (the thresholds are those of weights before training, from the literature; see `Finding.kind`):
    a weight has two axes or more that are larger than 1, and is no bias. It is *dead* where it is 0 everywhere and no
    rule says so; *symmetric* where all outputs, or all inputs, have the same weights; *exploding* or *vanishing* where
    sqrt(fan_in E|w|^2), by which a layer multiplies the scale of its input, is above 10 or below 1/128 (an embedding,
    which sums over nothing, where its elements are above 10). Elements *deviate* from their rule where one is outside
    of its range, or their mean or std is off by more than 1% of the std and 6 standard errors.
    Buffers that no rule matches are shown, and not judged. A weight that a layer of torch makes of other tensors is
    shown and judged as it is made, and compared with its rule: with spectral_norm before its norm is divided out, with
    pruning before its mask. Originals that have rules of their own are shown below it.

    Args:
        model: a torch.nn.Module; a pytree of JAX (params of Flax or Haiku, a module of nnx or Equinox), also of
            ShapeDtypeStructs; a model of Keras; or a mapping of arrays of NumPy, Dask and so on, with mappings and
            lists within. What is on the meta device or abstract has no measured numbers; what several processes share
            is measured where this one holds it.
        rules: an :class:`arrayinit.Rules`, or what makes one: a mapping from patterns to initializers.
        values: whether to look at the elements; without, the table has expected numbers only.
        progress: True for a progress bar, False for none; None for one on terminals after a second, where rich is.

    Raises:
        TypeError, ValueError: no model, lazy parameters of torch that have no shape yet, or no rules.
    """
    from arrayinit.reports.build import build  # here, for most programs that import the package make no report

    return build(model, rules, values, progress)
