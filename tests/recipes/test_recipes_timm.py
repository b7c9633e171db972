"""Models of vision with the names and classes of timm, started as its functions do, against the recipes."""

import math

import numpy as np
import pytest
from recipe_checks import check_module

import arrayinit as ai
from arrayinit import recipes

torch = pytest.importorskip("torch")
nn = torch.nn

WIDTH, CLASSES, TIMES = 48, 60, 50


def small_(x, scale=1.0):
    with torch.no_grad():
        return nn.init.trunc_normal_(x, std=0.02).mul_(scale)


def table(*shape):
    return nn.Parameter(torch.zeros(*shape))


class LayerScale(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((WIDTH,), value))


class RmsNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))


class Block(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), RmsNorm()
        self.attn = nn.ModuleDict({"qkv": nn.Linear(WIDTH, 3 * WIDTH), "proj": nn.Linear(WIDTH, WIDTH)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, 2 * WIDTH), "fc2": nn.Linear(2 * WIDTH, WIDTH)})
        if scale is not None:
            self.ls1, self.ls2 = LayerScale(scale), LayerScale(scale)


class Pool(nn.Module):
    """AttentionPoolLatent."""

    def __init__(self):
        super().__init__()
        self.latent = table(1, 1, WIDTH)
        std = WIDTH**-0.5
        nn.init.trunc_normal_(self.latent, std=std, a=-2 * std, b=2 * std)
        self.q, self.kv = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)


class Vit(nn.Module):
    def __init__(self, mode, scale=None):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, WIDTH, 4)})
        self.cls_token, self.reg_token = table(1, 1, WIDTH), table(1, 4, WIDTH)
        self.dist_token, self.pos_embed = table(1, 1, WIDTH), table(1, 17, WIDTH)
        self.blocks = nn.ModuleList([Block(scale), Block(scale)])
        self.attn_pool = Pool()
        self.norm = nn.LayerNorm(WIDTH)
        self.head, self.head_dist = nn.Linear(WIDTH, CLASSES), nn.Linear(WIDTH, CLASSES)
        small_(self.dist_token)
        small_(self.pos_embed)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.normal_(self.reg_token, std=1e-6)
        for path, module in self.named_modules():
            if isinstance(module, nn.Linear):
                {"": start_timm, "moco": start_moco}.get(mode, start_jax)(path, module, mode)
            elif isinstance(module, nn.Conv2d) and mode.startswith("jax"):
                std = math.sqrt(1 / module.weight[0].numel()) / 0.87962566103423978
                nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
                nn.init.zeros_(module.bias)


def start_timm(path, module, mode):
    small_(module.weight)
    nn.init.zeros_(module.bias)


def start_jax(path, module, mode):
    if path.startswith("head"):
        nn.init.zeros_(module.weight)
        nn.init.constant_(module.bias, -math.log(CLASSES) if "nlhb" in mode else 0.0)
        return
    nn.init.xavier_uniform_(module.weight)
    if "mlp" in path:
        nn.init.normal_(module.bias, std=1e-6)
    else:
        nn.init.zeros_(module.bias)


def start_moco(path, module, mode):
    if "qkv" in path:
        bound = math.sqrt(6 / (module.weight.shape[0] // 3 + module.weight.shape[1]))
        nn.init.uniform_(module.weight, -bound, bound)
    else:
        nn.init.xavier_uniform_(module.weight)
    nn.init.zeros_(module.bias)


class LayerScaleBlock(nn.Module):
    """A block of CaiT, whose attention has two mixtures of heads."""

    def __init__(self, value, heads=12):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(WIDTH, 3 * WIDTH), "proj_l": nn.Linear(heads, heads)})
        self.gamma_1 = nn.Parameter(torch.full((WIDTH,), value))
        self.gamma_2 = nn.Parameter(torch.full((WIDTH,), value))


class Cait(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, WIDTH, 4)})
        self.cls_token, self.pos_embed = table(1, 1, WIDTH), table(1, 16, WIDTH)
        self.blocks = nn.ModuleList([LayerScaleBlock(value)])
        self.blocks_token_only = nn.ModuleList([LayerScaleBlock(value)])
        self.head = nn.Linear(WIDTH, CLASSES)
        for x in (self.cls_token, self.pos_embed):
            small_(x)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                start_timm("", module, "")


class BeitBlock(nn.Module):
    """A block of BEiT or, with a gate, of EVA."""

    def __init__(self, scale, gated):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(WIDTH, 3 * WIDTH, bias=False), "proj": nn.Linear(WIDTH, WIDTH)})
        self.attn.q_bias, self.attn.v_bias = table(WIDTH), table(WIDTH)
        self.attn.relative_position_bias_table = table(20, 4)
        first = ("fc1_g", "fc1_x") if gated else ("fc1",)
        self.mlp = nn.ModuleDict({name: nn.Linear(WIDTH, 2 * WIDTH) for name in first})
        self.mlp["fc2"] = nn.Linear(2 * WIDTH, WIDTH)
        if scale is not None:
            self.gamma_1 = nn.Parameter(torch.full((WIDTH,), scale))
            self.gamma_2 = nn.Parameter(torch.full((WIDTH,), scale))


class Beit(nn.Module):
    def __init__(self, scale=None, gated=False, head_scale=0.001, layers=3):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, WIDTH, 4)})
        self.cls_token, self.reg_token, self.pos_embed = (table(1, n, WIDTH) for n in (1, 4, 17))
        self.blocks = nn.ModuleList([BeitBlock(scale, gated) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)
        for x in (self.cls_token, self.reg_token, self.pos_embed):
            small_(x)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                small_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for layer, block in enumerate(self.blocks):
            for last in (block.attn["proj"], block.mlp["fc2"]):
                last.weight.div_(math.sqrt(2.0 * (layer + 1)))
        self.head.weight.mul_(head_scale)


class GlobalResponseNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = table(width), table(width)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width, scale, name):
        super().__init__()
        self.conv_dw, self.norm = nn.Conv2d(width, width, 7, groups=width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        if scale is None:
            self.mlp["grn"] = GlobalResponseNorm(4 * width)
        else:
            self.register_parameter(name, nn.Parameter(torch.full((width,), scale)))


class ConvNeXt(nn.Module):
    def __init__(self, scale=1e-6, head_scale=1.0, name="gamma"):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 4), nn.LayerNorm(32))
        self.stages = nn.ModuleList([ConvNeXtBlock(32, scale, name)])
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(32), "fc": nn.Linear(32, CLASSES)})
        for path, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                small_(module.weight, head_scale if path.startswith("head.") else 1.0)
                nn.init.zeros_(module.bias)


MODELS = {
    "ViT": (lambda: Vit(""), recipes.timm_vit()),
    "ViT, layer scale": (lambda: Vit("", 1e-5), recipes.timm_vit(layer_scale=1e-5)),
    "ViT, jax": (lambda: Vit("jax"), recipes.timm_vit("jax")),
    "ViT, jax_nlhb": (lambda: Vit("jax_nlhb"), recipes.timm_vit("jax_nlhb", num_classes=CLASSES)),
    "ViT, moco": (lambda: Vit("moco"), recipes.timm_vit("moco")),
    "CaiT": (lambda: Cait(1e-4), recipes.cait(layer_scale=1e-4)),
    "BEiT": (lambda: Beit(0.1), recipes.beit(layers=3, layer_scale=0.1)),
    "EVA": (lambda: Beit(gated=True), recipes.beit(layers=3)),
    "EVA, whole head": (lambda: Beit(head_scale=1.0), recipes.beit(layers=3, head_init_scale=0)),
    "ConvNeXt": (ConvNeXt, recipes.convnext()),
    "ConvNeXt, head": (lambda: ConvNeXt(head_scale=0.001), recipes.convnext(head_init_scale=0.001)),
    "ConvNeXt, no head": (lambda: ConvNeXt(head_scale=0.0), recipes.convnext(head_init_scale=0)),
    "ConvNeXt V2": (lambda: ConvNeXt(scale=None), recipes.convnext()),
    "torchvision": (lambda: ConvNeXt(name="layer_scale"), recipes.convnext()),
    "transformers": (lambda: ConvNeXt(name="layer_scale_parameter"), recipes.convnext()),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    torch.manual_seed(0)
    make, rules = MODELS[name]
    with torch.no_grad():
        plan = check_module(make, rules, TIMES)
    assert all(entry.rule is not None for entry in plan)


def test_packed_projections_of_moco_have_the_fans_of_one():
    x = recipes.timm_vit("moco").find("blocks.0.attn.qkv.weight", (144, 48), ["Linear"]).initializer((144, 48), seed=0)
    assert 0.98 * math.sqrt(6 / 96) < np.abs(x).max() < math.sqrt(6 / 96)


def test_a_layer_of_beit_beyond_is_refused():
    from arrayinit.models.plans import PlanError
    from arrayinit.models.torch import init_module_

    with torch.no_grad():
        module = Beit(layers=4)
    with pytest.raises(PlanError) as caught:
        init_module_(module, recipes.beit(layers=3), seed=0)
    assert set(caught.value.problems) == {"blocks.3.attn.proj.weight", "blocks.3.mlp.fc2.weight"}


def test_register_tokens_of_vit_are_0_whatever_they_are_called():
    for path in ("reg_token", "embeddings.register_tokens"):
        assert recipes.vit().find(path, (1, 4, 48)).initializer == ai.spec("zeros")


def test_layer_scales_have_no_rule_unless_they_are_asked_for():
    assert recipes.timm_vit().find("blocks.0.ls1.gamma", (4,), ["LayerScale"]) is None
    rule = recipes.timm_vit(layer_scale=0.1).find("blocks.0.ls1.gamma", (4,), ["LayerScale"])
    assert rule.initializer == ai.spec("constant", val=0.1)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: recipes.timm_vit("moco_v3"), ValueError, "`weight_init` must be one of '', 'jax', 'jax_nlhb', 'moco'"),
        (lambda: recipes.timm_vit(num_classes=0), ValueError, "`num_classes` must be at least 1; got 0"),
        (lambda: recipes.timm_vit(layer_scale="1"), TypeError, "`layer_scale` must be a real number"),
        (lambda: recipes.beit(layers=0), ValueError, "`layers` must be at least 1; got 0"),
        (lambda: recipes.beit(head_init_scale=-1), ValueError, "`head_init_scale` must not be negative; got -1"),
        (lambda: recipes.cait(math.nan), ValueError, "`layer_scale` must be finite"),
        (lambda: recipes.cait(None), TypeError, "`layer_scale` must be a real number"),
        (lambda: recipes.convnext(head_init_scale=-1), ValueError, "`head_init_scale` must not be negative; got -1"),
    ],
)
def test_wrong_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()
