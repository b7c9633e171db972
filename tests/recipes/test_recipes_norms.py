"""Norms in recipes: known by what they are. Laws of whole models beside those that transformers' constructors have."""

import numpy as np
import pytest

import arrayinit as ai
from arrayinit import recipes
from arrayinit.models.norms import ZERO_CENTERED_NORMS, gains_of
from arrayinit.models.parameters import Parameter
from arrayinit.recipes import bert, deepnorm, gpt2, llama, mup, vit

torch = pytest.importorskip("torch")
nn = torch.nn

from arrayinit.models.torch import init_module_, parameters_of  # noqa: E402

GENERAL = {"gpt2": gpt2, "llama": llama, "bert": bert, "vit": vit, "mup": mup, "deepnorm": deepnorm}


class RMSNorm1(nn.Module):
    """A norm as models have it that bring their own."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width))


class GemmaRMSNorm(RMSNorm1):
    pass


class Qwen3NextRMSNormGated(RMSNorm1):
    pass


class GRN(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(1, 1, 1, width))


class NormedEmbedding(nn.Embedding):
    """A matrix, whatever its class is called."""


def oddly_named():
    """Norms whose names say nothing; random gains, so that none is right by chance."""
    model = nn.ModuleDict(
        {
            "seq": nn.Sequential(nn.LayerNorm(6), nn.BatchNorm1d(6), nn.GroupNorm(2, 6), nn.RMSNorm(6)),
            "ln_1": nn.LayerNorm(6),
            "bn1": nn.BatchNorm2d(6),
            "heads": nn.LayerNorm((2, 3)),
            "own": RMSNorm1(6),
            "act": nn.PReLU(6),
        }
    )
    with torch.no_grad():
        for x in model.parameters():
            x.uniform_(2, 3)
    return model


@pytest.mark.parametrize("name", [*GENERAL, "torch_defaults", "resnet", "t_fixup"])
@pytest.mark.filterwarnings("ignore:these rules apply to no parameter:UserWarning")
def test_norms_are_known_by_their_class(name):
    model = oddly_named()
    if name in ("torch_defaults", "resnet"):
        del model["own"]  # they speak of torch's own layers
    rules = recipes.recipe(name)
    init_module_(model, rules, seed=0)
    for path, x in model.named_parameters():
        value = 0.25 if path == "act.weight" else float(path.endswith("weight"))
        assert (x == value).all(), path


@pytest.mark.parametrize("name", GENERAL)
def test_norms_without_layers_are_known_by_their_axis(name):
    rules = GENERAL[name]()
    for path in ("0.weight", "h.0.ln_1.weight", "layer1.0.bn1.weight", "embed_ln.weight", "qkv.layer_norm_weight"):
        assert rules.find(path, (8,)).initializer == ai.spec("ones"), path
    assert rules.find("q_norm.weight", (4, 8)).initializer == ai.spec("ones")
    assert rules.find("mlp.prelu.weight", (1,)).initializer == ai.spec("constant", val=0.25)
    if name != "deepnorm":  # which names its matrices
        for path in ("0.weight", "ln_1.weight", "h.0.fc.weight"):
            assert rules.find(path, (8, 4)).initializer.name in ("normal", "variance_scaling"), path


@pytest.mark.parametrize("name", GENERAL)
def test_zero_centered_norms(name):
    def gains(rules, *kinds):
        return rules.find("model.norm.weight", (8,), kinds).initializer.name

    function = GENERAL[name]
    assert gains(function(), "GemmaRMSNorm") == "zeros"
    assert gains(function(), "Gemma3RMSNorm", "Module") == "zeros"
    assert [gains(function(), kind) for kind in ("Gemma3nRMSNorm", "Qwen3NextRMSNormGated", "RMSNorm")] == ["ones"] * 3
    assert gains(function()) == "ones"
    if name == "deepnorm":
        return
    zero = function(zero_centered_norms=True)
    assert [gains(zero), gains(zero, "GemmaRMSNorm"), gains(zero, "MyRMSNorm")] == ["zeros"] * 3
    assert gains(zero, "Qwen3NextRMSNormGated") == "ones"
    assert zero.find("layers.0.linear_attn.norm.weight", (8,)).initializer == ai.spec("ones")
    one = function(zero_centered_norms=False)
    assert [gains(one), gains(one, "GemmaRMSNorm")] == ["ones"] * 2
    with pytest.raises(TypeError, match="`zero_centered_norms` must be True, False or None; got 'gemma'"):
        function(zero_centered_norms="gemma")


def test_other_classes_with_norm_in_their_name():
    model = nn.ModuleDict(
        {"a": NormedEmbedding(40, 60), "b": GRN(6), "c": GemmaRMSNorm(6), "d": Qwen3NextRMSNormGated(6)}
    )
    init_module_(model, llama(), seed=0)
    assert model["a"].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert [model[key].weight.unique().tolist() for key in "bcd"] == [[0.0], [0.0], [1.0]]


def test_gains_that_are_buffers_stay():
    class FrozenBatchNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.full((6,), 3.0))

    model = nn.ModuleDict({"bn": FrozenBatchNorm(), "fc": nn.Linear(6, 6)})
    for name in ("llama", "bert", "vit"):
        assert (init_module_(model, recipes.recipe(name), seed=0)["bn"].weight == 3).all()


def test_layer_scales_of_vit():
    class LayerScale(nn.Module):
        def __init__(self):
            super().__init__()
            self.gamma = nn.Parameter(torch.rand(6))

    model = nn.ModuleDict({"ls1": LayerScale(), "other": LayerScale(), "fc": nn.Linear(6, 6)})
    init_module_(model, vit(layer_scale=0.1), seed=0)
    assert (model["ls1"].gamma == 0.1).all()
    assert (model["other"].gamma == 0.1).all()
    for path in (
        "blocks.0.ls1.gamma",
        "layer.0.layer_scale1.lambda1",
        "layer.0.lambda_2",
        "layer_scale_1",
        "x.gamma_2",
    ):
        assert vit().find(path, (8,)).initializer == ai.spec("constant", val=1.0), path
    assert vit().find("block.gamma", (8,)) is None  # of a norm or of a layer scale
    with pytest.raises(ValueError, match="`layer_scale` must not be negative; got -1"):
        vit(layer_scale=-1)


def test_gains_of_trees_and_modules():
    def tree(**shapes):
        return gains_of(Parameter(path.replace("__", "."), shape, "float32") for path, shape in shapes.items())

    assert tree(ln__scale=(4,), ln__bias=(4,), fc__weight=(4, 4), fc__scale=(4,), weight=(4,)) == {"ln.scale"}
    assert tree(x__w=(4,), cls__weight=(1, 4), norm_proj__weight=(2, 4)) == set()
    assert tree(norm__weight=(2, 4), norm__bias=(2, 4)) == {"norm.weight"}  # a stack of two layers
    model = nn.Sequential(nn.LayerNorm((2, 3)), nn.Linear(3, 3), nn.PReLU(), NormedEmbedding(3, 3), RMSNorm1(3))
    assert gains_of(parameters_of(model)) == {"0.weight", "4.weight"}


# transformers

LAWS = {
    "llama": """llama mistral gemma gemma2 gemma3_text gemma3n_text gemma4_text vaultgemma t5gemma mixtral qwen3_moe
        qwen3_next qwen3_5_moe_text deepseek_v3 deepseek_v4 gpt_oss granite_swa granitemoehybrid bamba kimi_linear
        olmo_hybrid dbrx cohere mllama_text_model diffllama laguna minimax_m3_vl_text afmoe openai_privacy_filter
        ernie4_5_moe jamba falcon_h1 flint mimo_v2_flash""",
    "moe": "mixtral gpt_oss deepseek_v3 granite_swa granitemoe_swa afmoe openai_privacy_filter flint mimo_v2_flash",
    "bert": "bert roberta deberta lxmert marian",
    "gpt2": "gpt2 decision_transformer",
    "vit": "vit dinov2_with_registers",
}
RECIPES = {
    "moe": lambda config: recipes.moe(std=config.initializer_range),
    "llama": lambda config: llama(std=config.initializer_range),
    "bert": lambda config: bert(std=getattr(config, "initializer_range", None) or config.init_std),
    "gpt2": lambda config: gpt2(layers=config.num_hidden_layers, std=config.initializer_range),
    "vit": lambda config: vit(std=config.initializer_range, layer_scale=getattr(config, "layerscale_value", 1.0)),
}


@pytest.mark.parametrize(("name", "model_type"), [(name, each) for name in LAWS for each in LAWS[name].split()])
def test_every_parameter_has_the_law_of_its_constructor(name, model_type):
    pytest.importorskip("transformers")
    from recipe_laws import differences_in_law
    from tiny_transformers import model_class, tiny_config

    config = tiny_config(model_type)
    if model_type == "deepseek_v3":
        config.first_k_dense_replace = 1  # so that the second layer has experts
    assert differences_in_law(lambda: model_class(model_type)(config), RECIPES[name]) == []


@pytest.mark.parametrize(
    ("model_type", "path"),
    [
        ("cpmant", "cpmant.position_bias.relative_attention_bias"),
        ("mamba", "backbone.layers.0.mixer.dt_proj.bias"),
        ("falcon_mamba", "backbone.layers.1.mixer.dt_proj.weight"),
        ("mamba2", "backbone.layers.0.mixer.out_proj.weight"),
        ("nemotron_h", "model.layers.0.mixer.out_proj.weight"),
        ("xlstm", "backbone.blocks.0.mlstm_layer.igate_preact.bias"),
        ("xlstm", "backbone.blocks.0.mlstm_layer.q.weight"),
        ("xlnet", "transformer.layer.0.rel_attn.r_w_bias"),
        ("zamba", "model.layers.0.mamba.dt_proj_bias"),
        ("rwkv", "rwkv.blocks.0.attention.receptance.weight"),
        ("recurrent_gemma", "model.layers.0.temporal_block.linear_x.weight"),
        ("t5", "encoder.block.0.layer.0.SelfAttention.q.weight"),
        ("modernbert-decoder", "model.layers.0.attn.Wo.weight"),
        ("blt", "model.local_encoder.layers.0.self_attn.q_proj.weight"),
    ],
)
@pytest.mark.parametrize("layers", [None, 2])
def test_llama_refuses_models_that_start_otherwise(model_type, path, layers):
    pytest.importorskip("transformers")
    from tiny_transformers import tiny_model

    with pytest.raises(ai.PlanError) as caught:
        init_module_(tiny_model(model_type), llama(layers=layers), seed=0)
    assert path in caught.value.problems


def test_llama_refuses_towers_for_images_and_sound():
    for tower in ("vision_tower", "model.visual", "model.vision_model", "audio_tower", "thinker.audio_tower"):
        assert llama().find(f"{tower}.layers.0.mlp.fc1.weight", (8, 8)) is None, tower
        assert llama().find(f"{tower}.layers.0.norm.weight", (8,)).initializer == ai.spec("ones"), tower
    for path in ("model.language_model.layers.0.mlp.up_proj.weight", "multi_modal_projector.linear_1.weight"):
        assert llama().find(path, (8, 8)).initializer == ai.spec("normal", std=0.02), path
    config = {"vision_tower.fc.weight": np.ones((4, 4), "f"), "layers.0.fc.weight": np.ones((4, 4), "f")}
    with pytest.raises(ai.PlanError, match=r"vision_tower\.fc\.weight .*no rule matches"):
        ai.init_params_(config, llama(), seed=0)
    ai.init_params_(config, [("vision_tower.*", "xavier_uniform"), *llama()], seed=0)


@pytest.mark.parametrize("name", GENERAL)
def test_tables_called_biases_are_no_biases(name):
    rules = GENERAL[name]()
    for path, shape in (
        ("position_bias.relative_attention_bias", (32, 4)),
        ("transformer.h.0.attn.bias", (1, 1, 8, 8)),  # the causal mask in files of GPT-2
        ("logit_bias", (1,)),
        ("layers.0.mixer.dt_proj.bias", (8,)),
    ):
        assert rules.find(path, shape) is None, path
    for path, shape in (("layers.0.q_proj.bias", (8,)), ("layers.0.mlp.experts.gate_up_proj_bias", (4, 8))):
        assert rules.find(path, shape).initializer == ai.spec("zeros"), path


def test_biases_in_stacks_of_layers():
    tree = {"layers": {"q": {"weight": np.ones((3, 4, 4), "f"), "bias": np.ones((3, 4), "f")}}}
    assert (ai.init_params_(tree, llama(), seed=0)["layers"]["q"]["bias"] == 0).all()


def test_flax_sets_only_its_own_biases_to_0():
    rules = recipes.flax_defaults()
    assert rules.find("logit_bias", (1,)) is None
    assert rules.find("attn.query.bias", (4, 8)).initializer == ai.spec("zeros")


def test_moe_knows_lists_of_experts():
    rules = recipes.moe(layers=2)
    block = "model.layers.0.block_sparse_moe"
    for name, std in (("experts.0.w1", 0.02), ("experts.7.w3", 0.02), ("experts.0.w2", 0.01), ("gate", 0.02)):
        assert rules.find(f"{block}.{name}.weight", (8, 8)).initializer == ai.spec("normal", std=std), name
    assert rules.find(f"{block}.w1.weight", (8, 8)) is None


def test_all_zero_centered_norms_of_transformers_are_known():
    transformers = pytest.importorskip("transformers")
    import ast
    import importlib
    import pathlib
    import re

    adds_one = re.compile(r"1(\.0)? \+ self\.weight|self\.weight(\.\w+\(\))? \+ 1")
    known = {kind for kind in ZERO_CENTERED_NORMS if not kind.startswith(("Liger", "LayerNorm1P"))}
    for file in pathlib.Path(transformers.__file__).parent.glob("models/*/modeling_*.py"):
        text = file.read_text()
        if not adds_one.search(text):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and adds_one.search(ast.get_source_segment(text, node)):
                assert node.name in known, file
                known.discard(node.name)
                norm = getattr(
                    importlib.import_module(f"transformers.models.{file.parent.name}.{file.stem}"), node.name
                )(4)
                torch.nn.init.zeros_(norm.weight)
                x = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
                torch.testing.assert_close(norm(x), x, rtol=1e-4, atol=0)
    assert known == set()


def test_what_a_report_finds_in_starts_of_transformers():
    pytest.importorskip("transformers")
    from tiny_transformers import tiny_model

    for model_type, kind in (("nemotron", "doubled"), ("mobilevit", "random gain"), ("gemma", None)):
        model = tiny_model(model_type)
        report = ai.report(model)
        assert {finding.kind for finding in report.findings} == ({kind} if kind else set())
        wrong = {each.path for each in parameters_of(model) if kind == "doubled" or "BatchNorm2d" in each.kinds}
        assert {finding.path for finding in report.findings} == (gains_of(parameters_of(model)) & wrong)


def test_tables_that_a_constructor_froze_stay():
    transformers = pytest.importorskip("transformers")
    config = transformers.WhisperConfig(
        vocab_size=50, num_mel_bins=8, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=12,
        max_target_positions=12, pad_token_id=1, bos_token_id=2, eos_token_id=3, decoder_start_token_id=4,
    )  # fmt: skip
    model = transformers.WhisperModel(config)
    table = model.encoder.embed_positions.weight.detach().clone()
    with pytest.warns(UserWarning, match="1 frozen parameter not drawn: encoder.embed_positions.weight; say frozen="):
        init_module_(model, bert(), seed=0)
    assert torch.equal(model.encoder.embed_positions.weight, table)
    assert model.decoder.embed_positions.weight.std().item() == pytest.approx(0.02, rel=0.2)
    report = ai.report(model, bert())
    assert not report.findings, report
    assert report["encoder.embed_positions.weight"].expected_std is None
    init_module_(model, bert(), seed=0, frozen="keep")  # says so, and is not warned
    assert torch.equal(model.encoder.embed_positions.weight, table)
    rules = ai.Rules({"encoder.embed_positions.weight": "sinusoidal"}) + bert()
    with pytest.raises(ai.PlanError, match="say frozen='draw' or frozen='keep'"):
        init_module_(model, rules, seed=0)
    init_module_(model, rules, seed=0, frozen="draw")
    assert not torch.equal(model.encoder.embed_positions.weight, table)
    np.testing.assert_array_equal(model.encoder.embed_positions.weight.detach(), ai.sinusoidal((12, 16)))


class LinearNorm(nn.Linear):
    pass


class LayerNormLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 8))


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_matrices_are_never_gains(name):
    rules = recipes.recipe(name)
    for layer in (LinearNorm(8, 8), LayerNormLinear()):
        kinds = [kind.__name__ for kind in type(layer).__mro__]
        rule = rules.find("layers.0.a.weight", (8, 8), kinds)
        drawn = rule and rule.initializer
        assert drawn is None or drawn.name not in ("ones", "zeros", "constant"), rule


@pytest.mark.parametrize("name", ["mup", "completep", "depth_mup", "u_mup"])
def test_vectors_of_a_head_are_no_matrices(name):
    rules = recipes.recipe(name)
    for path, shape in (("head.temperature", (1,)), ("head.gamma", (8,)), ("head.logit_scale", ())):
        rule = rules.find(path, shape, ["Head"])
        assert rule is None or rule.initializer.name == "ones", path
    assert rules.find("head.weight", (8, 8), ["Linear"]).initializer.name == "normal"


@pytest.mark.parametrize(
    "name", ["moe", "torchtitan", "olmo", "mamba2", "timm_vit", "modular_norm", "completep", "u_mup"]
)
def test_zero_centred_norms_by_class_in_all_recipes(name):
    for kind, start in (("GemmaRMSNorm", "zeros"), ("LlamaRMSNorm", "ones")):
        assert recipes.recipe(name).find("layers.0.norm.weight", (8,), [kind]).initializer == ai.spec(start)


@pytest.mark.parametrize("name", ["completep", "u_mup", "llama"])
def test_slopes_of_prelu(name):
    assert recipes.recipe(name).find("layers.0.act.weight", (1,), ["PReLU"]).initializer == ai.spec(
        "constant", val=0.25
    )
