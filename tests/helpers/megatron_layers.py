"""Layers with the attributes that Megatron's have, where the package isn't installed."""

from types import SimpleNamespace

from torch import nn


def megatron(base, **fields):
    """A layer of a class that is Megatron's by its module."""
    kind = type(base.__class__.__name__, (type(base),), {"__module__": "megatron.core.standin"})
    base.__class__ = kind
    for name, value in fields.items():
        object.__setattr__(base, name, value)
    return base


def group(rank, ranks):
    return SimpleNamespace(rank=lambda: rank, size=lambda: ranks)


def column(out, in_, rank, ranks, stride=1, marked=True, bias=True):
    """ColumnParallelLinear: rows of the whole; its parameters are marked if Megatron draws them itself."""
    layer = megatron(
        nn.Linear(in_, out // ranks, bias=bias), output_size=out, input_size=in_, tp_group=group(rank, ranks)
    )
    for x in layer.parameters() if marked else ():
        x.tensor_model_parallel, x.partition_dim, x.partition_stride = True, 0, stride
    return layer


def row(out, in_, rank, ranks, marked=True):
    layer = megatron(nn.Linear(in_ // ranks, out), output_size=out, input_size=in_, tp_group=group(rank, ranks))
    if marked:
        layer.weight.tensor_model_parallel, layer.weight.partition_dim, layer.weight.partition_stride = True, 1, 1
    return layer
