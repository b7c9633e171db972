"""Reports: a table of a model's parameters, compared with rules, and findings."""

from typing import TYPE_CHECKING, Any

from arrayinit.common.calls import hinting

if TYPE_CHECKING:
    from arrayinit.models.matching import SeedNames
    from arrayinit.reports.results import Report

__all__ = ["report"]


@hinting
def report(
    model: Any, rules: Any = None, *, seed: Any = None, seed_names: "SeedNames | None" = None, shards: Any = None,
    values: bool = True, casts: bool = False, fold: bool = True, progress: bool | None = None,
) -> "Report":  # fmt: skip
    """A table of a model's parameters: shapes, rules, fans, expected and measured mean and std, and findings.

        print(ai.report(model))                  # plain text; rich.print for colours, a notebook shows a table
        ai.report(model, rules).findings         # as data: path, kind, text
        Path("init.html").write_text(ai.report(model, rules).to_html())
        before = ai.report(model)                # later: print(before.diff(model)), or .diff of another model

    Nothing is drawn, and the model does not change. std = sqrt(E|w - E w|^2). With rules, expected numbers are those of
    :func:`arrayinit.describe`. A parameter that no rule matches, or that its rule can't draw, is a finding and not an
    error.

    Findings (see `Finding.kind`; the thresholds are for weights before training, from the literature). A weight is a
    parameter with two or more axes that are larger than 1, except a bias. It is *dead* if all of it is 0 and no rule
    says so; *symmetric* if all outputs, or all inputs, have the same weights; *exploding* or *vanishing* if
    sqrt(fan_in E|w|^2), by which a layer multiplies the scale of its input, is above 10 or below 1/128. An embedding,
    which is looked up and not summed over, is *exploding* if the root mean square of its elements is above 10.
    The gain of a norm, known by the class of its layer or, in trees of arrays, by its name and single axis, is a
    *random gain* if its rule draws it at random or, without a rule, if its std is above its mean; it is *doubled* if it
    is 1 in a norm that multiplies by 1 + weight. Elements *deviate* from their rule if one of them is outside of its
    range, or if their mean or std is off by more than 1% of the std plus 6 standard errors.

    A weight is a *transposed tie* if it is another one transposed, in the same memory, which rules can't draw. Weights
    of random values that are equal in all bits, or transposes of each other, and have memory of their own, have the
    *same values*: a hint that they were drawn from one key, or were tied. With a seed, each parameter that is drawn at
    random is compared with its draw; the line below the table says how many equal it. A model is *partly loaded* if
    some parameters, or some rows of one, are as the seed draws them, and others are not; the fewer of both are
    findings.

    Rows that repeat from layer to layer are shown as one, "h.{0..11}.attn.weight", if their shapes, rules and findings
    are alike; of numbers that differ in the digits that are shown, the smallest and the largest are. More than three
    buffers of one name that no rule draws are one row. `rows` has each parameter.

    Buffers that no rule matches are listed, but not judged. If a layer of torch computes a weight from other tensors,
    the computed weight is listed and judged. Its rule is compared with the value before spectral_norm divides or
    pruning masks. Tensors that have rules themselves are listed below it.

    Args:
        model: a torch.nn.Module; a pytree of JAX (params of Flax or Haiku, a module of nnx or Equinox), also of
            ShapeDtypeStructs; a model of Keras; or a mapping of arrays of any library, with mappings and lists within.
            Parameters that are abstract or on the meta device have no measured numbers. Of an array that is
            distributed over processes, only the part in this process is measured.
        rules: an :class:`arrayinit.Rules`, or a mapping from patterns to initializers that makes one.
        seed, seed_names: those that the model was drawn with, or would be drawn with, as in `init_module_` and the
            like. A draw of each parameter is made and thrown away. Rules must be given, too.
        shards: of a torch module, what is here of parameters that are cut in a way of your own, as in
            :func:`arrayinit.torch.init_module_`.
        values: whether to measure the elements. Otherwise the table has expected numbers only.
        casts: whether :meth:`Report.diff` can compare the values with those of a model in another dtype, such as a
            float32 model with itself in bfloat16. That takes fingerprints in each dtype, and may double the time.
        fold: whether rows that repeat are shown as one.
        progress: True for a progress bar, False for none. None for one on terminals after a second, if rich is there.

    Raises:
        TypeError, ValueError: `model` or `rules` is none of these, or lazy parameters of torch have no shape yet;
            `seed` or `seed_names` without rules or without values; `shards` as in `init_module_`, or beside another
            model.
    """
    from arrayinit.reports.build import build  # not at the top: most programs make no report

    return build(model, rules, seed, seed_names, shards, values, casts, fold, progress)
