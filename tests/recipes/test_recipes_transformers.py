"""Language and vision models: the recipes against what the library transformers draws for a small configuration."""

import math
import re

import pytest
from recipe_checks import check_module, tensors

import arrayinit as ai
from arrayinit import recipes

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from arrayinit.models.torch import init_module_  # noqa: E402

SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}


def gpt2(layers=3, kind="GPT2LMHeadModel", **rest):
    config = transformers.GPT2Config(vocab_size=200, n_positions=48, n_embd=64, n_layer=layers, n_head=4, **rest)
    return getattr(transformers, kind)(config)


def bert(kind="BertForPreTraining", **rest):
    return getattr(transformers, kind)(
        transformers.BertConfig(vocab_size=200, max_position_embeddings=48, **SMALL, **rest)
    )


def llama(**rest):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=200, **SMALL, **rest))


def vit(**rest):
    return transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=4, **SMALL), **rest)


MODELS = {  # name -> (constructor, rules, how many are made)
    "GPT-2": (gpt2, recipes.gpt2(layers=3), 2),
    "GPT-2, other std": (lambda: gpt2(5, initializer_range=0.1), recipes.gpt2(layers=5, std=0.1), 2),
    "GPT-2, cross-attention": (
        lambda: gpt2(2, "GPT2Model", add_cross_attention=True), recipes.gpt2(layers=2), 2,
    ),
    "GPT-2, classifier": (
        lambda: gpt2(2, "GPT2ForTokenClassification", num_labels=20), recipes.gpt2(layers=2), 2,
    ),
    "BERT": (bert, recipes.bert(), 20),
    "BERT, other std": (lambda: bert("BertModel", initializer_range=0.05), recipes.bert(std=0.05), 20),
    "Llama": (llama, recipes.llama(), 2),
    "Llama, biases and padding": (
        lambda: llama(attention_bias=True, mlp_bias=True, pad_token_id=7, tie_word_embeddings=True),
        recipes.llama(), 2,
    ),
    "ViT": (lambda: vit(use_mask_token=True), recipes.vit(), 40),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_of_transformers(name):
    torch.manual_seed(0)
    make, rules, times = MODELS[name]
    plan = check_module(make, rules, times)
    assert all(entry.rule is not None for entry in plan if not entry.parameter.optional)


def test_the_projections_onto_the_residual_stream():
    plan = init_module_(gpt2(3), recipes.gpt2(layers=3), seed=0, dry_run=True)
    scaled = {
        entry.path
        for entry in plan
        if entry.rule and entry.rule.initializer == ai.spec("normal", std=0.02 / math.sqrt(6))
    }
    assert scaled == {f"transformer.h.{k}.{part}.c_proj.weight" for k in range(3) for part in ("attn", "mlp")}
    plan = init_module_(llama(), recipes.llama(layers=2), seed=0, dry_run=True)
    scaled = {entry.path for entry in plan if entry.rule and entry.rule.initializer == ai.spec("normal", std=0.02 / 2)}
    assert scaled == {
        f"model.layers.{k}.{part}.weight" for k in range(2) for part in ("self_attn.o_proj", "mlp.down_proj")
    }


def test_a_model_without_such_projections_is_told_of():
    text = "these rules apply to no parameter (nothing matches, or an earlier rule comes first): *c_proj.weight"
    with pytest.warns(UserWarning, match=re.escape(text)):
        init_module_(llama(), recipes.gpt2(), seed=0, dry_run=True)


def test_depth_leaves_the_bits_of_other_layers_alone():
    rules = recipes.gpt2(layers=3)
    shallow = tensors(init_module_(gpt2(1), rules, seed=5))
    deep = tensors(init_module_(gpt2(3), rules, seed=5))
    assert all((shallow[path] == deep[path]).all() for path in shallow)
    tall = gpt2(3)
    tall.transformer.h = torch.nn.ModuleList([tall.transformer.h[k] for k in (2, 0, 1)])
    assert all((x == deep[path]).all() for path, x in tensors(init_module_(tall, rules, seed=5)).items())


def test_truncated_as_googles_bert():
    plan = init_module_(bert("BertModel"), recipes.bert(truncated=True), seed=0, dry_run=True)
    law = ai.describe(plan[0].initializer, plan[0].shape)
    assert (law.distribution, law.low, law.high) == ("truncated_normal", -0.04, 0.04)
    assert law.std == pytest.approx(0.02 * 0.8796256610342398)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: recipes.gpt2(layers=0), ValueError, "`layers` must be at least 1; got 0"),
        (lambda: recipes.gpt2(layers=2.0), TypeError, "`layers` must be an integer; got 2.0"),
        (lambda: recipes.gpt2(std=-1), ValueError, "`std` must not be negative; got -1"),
        (lambda: recipes.llama(layers=-1), ValueError, "`layers` must be at least 1; got -1"),
        (lambda: recipes.bert(truncated=1), TypeError, "`truncated` must be True or False; got 1"),
        (lambda: recipes.vit(std=float("nan")), ValueError, "`std` must be finite"),
        (lambda: recipes.vit_jax(head_bias=math.inf), ValueError, "`head_bias` must be finite"),
    ],
)
def test_wrong_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_from_the_meta_device():
    with torch.device("meta"):
        model = gpt2(2)
    assert model.lm_head.weight.is_meta
    rules = recipes.gpt2(layers=2)
    made = tensors(init_module_(model, rules, seed=1))
    assert model.lm_head.weight is model.transformer.wte.weight
    here = tensors(init_module_(gpt2(2), rules, seed=1))
    assert made.keys() == here.keys()
    assert all((made[path] == here[path]).all() for path in here)
