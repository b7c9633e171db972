"""Records of the model types of transformers, tiny ones: each model holds what real constructions of it hold.

A sample has every way of filling a tensor that is known among the types. The slow test has a sixteenth of all types, by
a hash of their names. The environment variable ARRAYINIT_BREADTH=all makes it all of them, which takes some minutes;
ARRAYINIT_BREADTH=k/n those whose hash leaves k when divided by n.

Seeds are fixed, so that a result is the same each time.
"""

import os
import zlib

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from same_law import differences  # noqa: E402
from tiny_transformers import MODEL_TYPES, tiny_model  # noqa: E402

from arrayinit.models.plans import PlanError  # noqa: E402
from arrayinit.models.records import record  # noqa: E402
from arrayinit.specs import law_of  # noqa: E402
from arrayinit.torch import init_module_  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op:UserWarning")

CONSTRUCTIONS = 3
SAMPLE = {
    "normal, constants": ["gpt2", "llama", "clip", "bert", "perceiver"],
    "norms about zero": ["gemma", "gemma3"],
    "truncated normal, plain": ["vit", "convnext", "deit", "swin"],
    "truncated normal, cut": ["blt", "modernbert", "udop"],
    "scaled by widths": ["t5", "siglip", "efficientnet"],
    "experts, sinks and corrections": ["mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3"],
    "logarithms and steps of state spaces": ["mamba", "mamba2", "zamba", "recurrent_gemma", "kimi_linear", "xlstm"],
    "orthogonal": ["rwkv"],
    "norms of weights": ["wav2vec2", "hubert", "vits"],
    "tables of sines": ["whisper", "fsmt", "xglm", "oneformer"],
    "drawn buffers": ["sam", "esmfold2"],
    "complex, boolean and bfloat16 buffers": ["llama4", "gpt_neo"],
    "drawn anew after parts, or never drawn anew": ["csm", "edgetam_video", "diffllama"],
    "tied and padded heads": ["bart", "dab-detr", "d_fine"],
    "no elements": ["dinov3_vit"],
}
UNINITIALIZED = {  # by transformers itself: the experts of the talker
    "qwen3_omni_moe": 4,
    "qwen3_omni_moe_talker_text": 4,
}


def constructions(model_type):
    models = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(CONSTRUCTIONS):
            torch.manual_seed(seed)
            models.append(tiny_model(model_type))
    return models


def problems(model_type, real):
    """What is wrong with a model type's record, in lines."""
    with record() as start:
        model = tiny_model(model_type)
    init_module_(model, start, seed=0, progress=False)
    rules = {rule.path: rule for rule in start}

    def law(path):
        rule = rules[path]
        return f"{rule.words}, {rule.shape}" if rule.initializer is None else law_of(rule.initializer, rule.shape)[0]

    return differences(model, real, law)


def report(failures, count):
    """One message of what is wrong with several types, some lines for each; "" where nothing is."""
    texts = [f"\n{model_type}\n" + "\n".join(lines[:5]) for model_type, lines in failures.items() if lines]
    return f"{len(texts)} of {count} types hold something else:" + "\n".join(texts) if texts else ""


@pytest.mark.parametrize("model_type", [name for names in SAMPLE.values() for name in names])
def test_models_hold_what_constructors_draw(model_type):
    wrong = report({model_type: problems(model_type, constructions(model_type))}, 1)
    assert not wrong, wrong


@pytest.mark.parametrize("model_type", UNINITIALIZED)
def test_parameters_that_transformers_leaves_uninitialized_are_refused(model_type):
    with record() as start:
        model = tiny_model(model_type)
    with pytest.raises(PlanError, match="leaves it as it was allocated") as error:
        init_module_(model, start, seed=0)
    assert str(error.value).count("mlp.experts") == UNINITIALIZED[model_type]
    assert all(x.is_meta for x in model.parameters())


@pytest.mark.slow
def test_all_types():
    asked = os.environ.get("ARRAYINIT_BREADTH", "0/16")
    part, parts = (0, 1) if asked == "all" else map(int, asked.split("/"))
    chosen = [name for name in MODEL_TYPES if zlib.crc32(name.encode()) % parts == part and name not in UNINITIALIZED]
    failures = {}
    for model_type in chosen:
        try:
            real = constructions(model_type)
        except Exception:  # of any kind: types that the helper leaves out
            continue
        try:
            failures[model_type] = problems(model_type, real)
        except Exception as error:
            failures[model_type] = [f"{type(error).__name__}: {error}"]
    wrong = report(failures, len(failures))
    assert not wrong, wrong
    assert len(failures) >= 0.9 * len(chosen), f"only {len(failures)} of {len(chosen)} types can be built"
