"""Recipes of language models whose code needs a GPU or can't be installed: written again with torch.nn.init.

Each model here has the names of its source, and is filled line by line as the source fills it; plans of the recipes are
compared with its draws. Those of transformers are compared with that library itself.
"""

import math
import re
from dataclasses import replace

import pytest
from recipe_checks import check_module, check_plan, tensors

import arrayinit as ai
from arrayinit import recipes

torch = pytest.importorskip("torch")
nn, init = torch.nn, torch.nn.init

from arrayinit.models.torch import init_module_  # noqa: E402

WIDTH, HIDDEN, TOKENS = 64, 96, 100
MANY = 500  # of what is a vector, so that a few models have enough numbers


class RMSNorm(nn.Module):
    """Has a class name that says norm, as all of them do."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))


class Plain(nn.Module):
    """A module of parameters alone."""

    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.empty(shape)))


def linear(out, into, bias=False):
    return Plain(weight=(out, into), **({"bias": (out,)} if bias else {}))


def tree(parts):
    """A module of dotted paths: {"a.b": module} has b within a."""
    root = nn.Module()
    for path, part in parts.items():
        *above, name = path.split(".")
        owner = root
        for word in above:
            if word not in owner._modules:
                owner.add_module(word, nn.Module())
            owner = owner._modules[word]
        owner.add_module(name, part)
    return root


def filled(parts, laws):
    """The module of these parts; the first law whose expression ends a path fills the parameter, or each raises."""
    module = tree(parts)
    with torch.no_grad():
        for path, x in module.named_parameters():
            fill = next((fill for names, fill in laws.items() if re.search(rf"(^|\.)({names})$", path)), None)
            assert fill is not None, path
            fill(x, int(number[1])) if (number := re.search(r"(?:layers|blocks)\.(\d+)\.", path)) else fill(x, None)
    return module


def normal(std):
    return lambda x, layer: init.normal_(x, std=std)


def ones(x, layer):
    init.ones_(x)


def zeros(x, layer):
    init.zeros_(x)


def cut(x, std):
    init.trunc_normal_(x, std=std, a=-3 * std, b=3 * std)


def default(x, layer):
    init.kaiming_uniform_(x, a=math.sqrt(5))


# torchtitan


def llama3(layers=3, depth_init=True, tied=False):
    parts = {"tok_embeddings": linear(TOKENS, WIDTH), "norm": RMSNorm(WIDTH), "lm_head": linear(TOKENS, WIDTH, True)}
    for k in range(layers):
        at = f"layers.{k}"
        parts |= {f"{at}.attention.qkv_linear.{w}": linear(WIDTH, WIDTH) for w in ("wq", "wk", "wv")}
        parts |= {f"{at}.attention.wo": linear(WIDTH, WIDTH), f"{at}.attention_norm": RMSNorm(WIDTH)}
        parts |= {f"{at}.feed_forward.{w}": linear(HIDDEN, WIDTH) for w in ("w1", "w3")}
        parts |= {f"{at}.feed_forward.w2": linear(WIDTH, HIDDEN), f"{at}.ffn_norm": RMSNorm(WIDTH)}

    def scaled(x, layer):
        init.trunc_normal_(x, std=0.02 / (2 * (layer + 1 if depth_init else layers)) ** 0.5)

    def head(x, layer):
        cut(x, WIDTH**-0.5)

    return filled(
        parts,
        {
            r"\w*norm\.weight": ones, r"lm_head\.bias": zeros, r"lm_head\.weight": head,
            r"tok_embeddings\.weight": head if tied else normal(1.0), r"(wo|w2|w3)\.weight": scaled,
            r"w\w+\.weight": lambda x, layer: init.trunc_normal_(x, std=0.02),
        },
    )  # fmt: skip


def deepseek(layers=3, experts=32):
    """The first layer dense, all others mixtures of experts."""
    parts = {"tok_embeddings": linear(TOKENS, WIDTH), "norm": RMSNorm(WIDTH), "lm_head": linear(TOKENS, WIDTH)}
    for k in range(layers):
        at = f"layers.{k}"
        for name in ("wq_a", "wq_b", "wkv_a", "wkv_b", "wo"):
            parts[f"{at}.attention.{name}"] = linear(WIDTH, WIDTH)
        for name in ("attention.q_norm", "attention.kv_norm", "attention_norm", "ffn_norm"):
            parts[f"{at}.{name}"] = RMSNorm(WIDTH)
        below = f"{at}.feed_forward" if k == 0 else f"{at}.moe.shared_experts"
        parts |= {f"{below}.w1": linear(HIDDEN, WIDTH), f"{below}.w3": linear(HIDDEN, WIDTH)}
        parts |= {f"{below}.w2": linear(WIDTH, HIDDEN)}
        if k:
            parts[f"{at}.moe.router.gate"] = linear(experts, WIDTH)
            parts[f"{at}.moe.routed_experts.inner_experts"] = Plain(
                w1_EFD=(experts, 8, WIDTH), w2_EDF=(experts, WIDTH, 8), w3_EFD=(experts, 8, WIDTH)
            )

    def scaled(x, layer):
        init.trunc_normal_(x, std=0.02 / (2 * (layer + 1)) ** 0.5)

    return filled(
        parts,
        {
            r"\w*norm\.weight": ones, r"lm_head\.weight": lambda x, layer: cut(x, WIDTH**-0.5),
            r"tok_embeddings\.weight": normal(1.0),
            r"(wo|w2|w3|gate)\.weight|w2_EDF|w3_EFD": scaled,
            r"w\w+\.weight|w1_EFD": lambda x, layer: init.trunc_normal_(x, std=0.02),
        },
    )  # fmt: skip


def titan_gpt_oss(layers=2, experts=MANY):
    parts = {"tok_embeddings": linear(TOKENS, WIDTH), "norm": RMSNorm(WIDTH), "lm_head": linear(TOKENS, WIDTH)}
    for k in range(layers):
        at = f"layers.{k}"
        parts |= {f"{at}.attention.qkv_linear.wqkv": linear(WIDTH, WIDTH, True)}
        parts |= {f"{at}.attention.wo": linear(WIDTH, WIDTH, True), f"{at}.attention_norm": RMSNorm(WIDTH)}
        parts |= {f"{at}.moe.router.gate": linear(MANY, WIDTH, True), f"{at}.ffn_norm": RMSNorm(WIDTH)}
        parts[f"{at}.attention.inner"] = Plain(sinks=(MANY,))
        parts[f"{at}.moe.routed_experts.inner_experts"] = Plain(
            mlp1_weight_EGD=(experts, 8, 4), mlp1_bias_EG=(experts, 5),
            mlp2_weight_EDF=(experts, 4, 4), mlp2_bias_ED=(experts, 4),
        )  # fmt: skip

    return filled(
        parts,
        {
            r"\w*norm\.weight": ones, r"lm_head\.weight": lambda x, layer: cut(x, WIDTH**-0.5),
            r"tok_embeddings\.weight": normal(0.02), r"(wqkv|wo|gate)\.bias": zeros,
            r"(wqkv|wo|gate)\.weight|sinks|mlp\w+": lambda x, layer: init.trunc_normal_(
                x, std=0.02 / (2 * (layer + 1)) ** 0.5
            ),
        },
    )  # fmt: skip


# OLMo-core


def olmo(method, layers=3, moe=False, recurrent=False, std=0.02, embedding_std=0.02):
    parts = {
        "embeddings": linear(TOKENS, WIDTH),
        "lm_head.norm": RMSNorm(WIDTH),
        "lm_head.w_out": linear(TOKENS, WIDTH),
    }
    for k in range(layers):
        at = f"blocks.{k}"
        parts |= {f"{at}.attention.{w}": linear(WIDTH, WIDTH) for w in ("w_q", "w_k", "w_v", "w_g", "w_out")}
        parts |= {f"{at}.attention_norm": RMSNorm(WIDTH), f"{at}.feed_forward_norm": RMSNorm(WIDTH)}
        if recurrent:
            parts[f"{at}.attention.w_a"] = linear(MANY, WIDTH)
            parts[f"{at}.attention.q_conv1d"] = Plain(weight=(MANY, 1, 4))
            parts[f"{at}.attention.decay"] = Plain(A_log=(MANY,), dt_bias=(MANY,))
        if moe:
            parts[f"{at}.feed_forward_moe.router"] = Plain(weight=(32 * WIDTH,))
            parts[f"{at}.feed_forward_moe.experts.mlp"] = Plain(
                w1=(4 * WIDTH, 32), w2=(4 * 32, WIDTH), w3=(4 * WIDTH, 32)
            )
        else:
            parts |= {
                f"{at}.feed_forward.w1": linear(HIDDEN, WIDTH, True),
                f"{at}.feed_forward.w3": linear(HIDDEN, WIDTH),
            }
            parts |= {f"{at}.feed_forward.w2": linear(WIDTH, HIDDEN)}

    def matrices(x, layer):
        cut(x, WIDTH**-0.5 if method in ("fan_in", "normalized") else std)

    def depth(layer):
        return (2 * {"llama": layers, "llama_depth": layer + 1}[method]) ** 0.5

    def w_out(x, layer):
        if method in ("llama", "llama_depth"):
            cut(x, std / depth(layer))
        elif method == "normalized":
            cut(x, WIDTH**-0.5 / (2 * layers) ** 0.5)
        else:
            matrices(x, layer)

    def w3(x, layer):
        w_out(x, layer) if method in ("llama", "llama_depth") else matrices(x, layer)

    def w2(x, layer):
        cut(x, HIDDEN**-0.5) if method == "fan_in" else w_out(x, layer)

    def experts(x, layer):
        if method == "fan_in":  # w2 is the only one with as many columns as the model is wide
            cut(x, 32**-0.5 if x.ndim == 2 and x.shape[1] == WIDTH else WIDTH**-0.5)
            return
        cut(x, std / depth(layer) if method in ("llama", "llama_depth") else std)

    def embeddings(x, layer):
        if method == "normal":
            cut(x, embedding_std)
        else:
            init.normal_(x, std=WIDTH**-0.5 if method == "normalized" else 1.0)

    return filled(
        parts,
        {
            r"\w*norm\.weight": ones, r"embeddings\.weight": embeddings,
            r"lm_head\.w_out\.weight": lambda x, layer: cut(x, std if method == "normal" else WIDTH**-0.5),
            r"feed_forward_moe\..*": experts, r"w_out\.weight": w_out, r"w3\.weight": w3, r"w2\.weight": w2,
            r"w1\.bias": zeros, r"A_log": lambda x, layer: x.uniform_(0, 16).log_(), r"dt_bias": steps,
            r"(w\w+|q_conv1d)\.weight": matrices,
        },
    )  # fmt: skip


def steps(x, layer):
    """The inverse softplus of log-uniform step sizes."""
    dt = torch.exp(torch.rand_like(x) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
    x.copy_(dt + torch.log(-torch.expm1(-dt)))


# nanochat, Megatron, xLSTM, Mamba-2, Gated DeltaNet


def nanochat(layers=3):
    parts = {"transformer.wte": linear(TOKENS, WIDTH), "lm_head": linear(TOKENS, WIDTH), "smear_gate": linear(1, MANY)}
    for k in range(layers):
        at = f"transformer.h.{k}"
        parts |= {f"{at}.attn.c_{w}": linear(WIDTH if w == "q" else 32, WIDTH) for w in "qkv"}
        parts |= {f"{at}.attn.c_proj": linear(WIDTH, WIDTH), f"{at}.attn.ve_gate": linear(MANY, 12)}
        parts |= {f"{at}.mlp.c_fc": linear(HIDDEN, WIDTH), f"{at}.mlp.c_proj": linear(WIDTH, HIDDEN)}
    parts["value_embeds.1"] = linear(TOKENS, 32)  # rows of fewer heads than queries have
    root = filled(
        parts,
        {
            r"wte\.weight": normal(0.8), r"lm_head\.weight": normal(0.001), r"c_proj\.weight": zeros,
            r"c_[qkv]\.weight|value_embeds\.1\.weight": lambda x, layer: init.uniform_(
                x, -(3**0.5) * WIDTH**-0.5, 3**0.5 * WIDTH**-0.5
            ),
            r"c_fc\.weight": lambda x, layer: init.uniform_(
                x, -(3**0.5) * WIDTH**-0.5 * 0.4, 3**0.5 * WIDTH**-0.5 * 0.4
            ),
            r"(ve_gate|smear_gate)\.weight": lambda x, layer: init.uniform_(x, 0.0, 0.02),
        },
    )  # fmt: skip
    root.resid_lambdas = nn.Parameter(torch.tensor([1.15 - 0.10 * k / max(layers - 1, 1) for k in range(layers)]))
    root.x0_lambdas = nn.Parameter(torch.tensor([0.20 - 0.15 * k / max(layers - 1, 1) for k in range(layers)]))
    root.smear_lambda, root.backout_lambda = nn.Parameter(torch.zeros(1)), nn.Parameter(0.2 * torch.ones(1))
    return root


def megatron(layers=3, embedding_std=0.02, zero_centered=False, hybrid=False):
    parts = {"embedding.word_embeddings": linear(TOKENS, WIDTH), "output_layer": linear(TOKENS, WIDTH)}
    parts["decoder.final_layernorm"] = RMSNorm(WIDTH)
    for k in range(layers):
        at = f"decoder.layers.{k}"
        parts |= {f"{at}.self_attention.linear_qkv": Plain(weight=(WIDTH, WIDTH), layer_norm_weight=(WIDTH,))}
        parts |= {f"{at}.self_attention.linear_proj": linear(WIDTH, WIDTH, True)}
        parts |= {f"{at}.self_attention.core_attention": Plain(softmax_offset=(MANY,))}
        parts |= {f"{at}.pre_mlp_layernorm": RMSNorm(WIDTH), f"{at}.mlp.router": linear(MANY, WIDTH, True)}
        parts |= {f"{at}.mlp.experts.linear_fc1": Plain(weight0=(HIDDEN, WIDTH), weight1=(HIDDEN, WIDTH))}
        parts |= {f"{at}.mlp.experts.linear_fc2": Plain(weight0=(WIDTH, HIDDEN), weight1=(WIDTH, HIDDEN))}
        parts |= {f"{at}.mlp.shared_experts.linear_fc2": linear(WIDTH, HIDDEN)}
        if hybrid:
            parts |= {f"{at}.mixer.in_proj": linear(WIDTH, WIDTH), f"{at}.mixer.out_proj": linear(WIDTH, WIDTH)}
            parts |= {f"{at}.mixer.conv1d": nn.Conv1d(MANY, MANY, 4, groups=MANY)}
            parts |= {f"{at}.mixer.cp": Plain(A_log=(MANY,), dt_bias=(MANY,), D=(MANY,))}

    def output(x, layer):
        init.normal_(x, std=0.02 / math.sqrt((1 if hybrid else 2) * layers))

    return filled(
        parts,
        {
            r"\w*norm\.weight|layer_norm_weight": zeros if zero_centered else ones,
            r"word_embeddings\.weight": normal(embedding_std), r"conv1d\.weight": default,
            r"conv1d\.bias": lambda x, layer: init.uniform_(x, -0.5, 0.5),  # 1 / sqrt(4)
            r"router\.(weight|bias)|softmax_offset|output_layer\.weight": normal(0.02), r"linear_proj\.bias": zeros,
            r"(linear_proj|linear_fc2|out_proj)\.weight\d?": output, r"D": ones,
            r"A_log": lambda x, layer: x.uniform_(1, 16).log_(), r"dt_bias": steps,
            r"(linear_qkv|linear_fc1|in_proj)\.weight\d?": normal(0.02),
        },
    )  # fmt: skip


def mamba2(layers=3, mlp=False, rescale=True):
    parts = {
        "backbone.embedding": linear(TOKENS, WIDTH),
        "backbone.norm_f": RMSNorm(WIDTH),
        "lm_head": linear(TOKENS, WIDTH),
    }
    for k in range(layers):
        at = f"backbone.layers.{k}"
        parts |= {f"{at}.norm": RMSNorm(WIDTH), f"{at}.mixer": Plain(A_log=(MANY,), dt_bias=(MANY,), D=(MANY,))}
        parts |= {f"{at}.mixer.in_proj": linear(HIDDEN, WIDTH, True), f"{at}.mixer.out_proj": linear(WIDTH, HIDDEN)}
        parts |= {f"{at}.mixer.conv1d": nn.Conv1d(MANY, MANY, 4, groups=MANY), f"{at}.mixer.norm": RMSNorm(WIDTH)}
        if mlp:
            parts |= {f"{at}.mlp.fc1": linear(HIDDEN, WIDTH), f"{at}.mlp.fc2": linear(WIDTH, HIDDEN)}

    def output(x, layer):
        default(x, layer)
        if rescale:
            x /= math.sqrt((2 if mlp else 1) * layers)

    return filled(
        parts,
        {
            r"norm(_f)?\.weight|D": ones, r"embedding\.weight": normal(0.02), r"in_proj\.bias": zeros,
            r"(out_proj|fc2)\.weight": output, r"A_log": lambda x, layer: x.uniform_(1, 16).log_(), r"dt_bias": steps,
            r"conv1d\.bias": lambda x, layer: init.uniform_(x, -0.5, 0.5), r"\w+\.weight": default,
        },
    )  # fmt: skip


def mamba(layers=3, rescale=True):
    rank, states = 8, 16
    parts = {
        "backbone.embedding": linear(TOKENS, WIDTH),
        "backbone.norm_f": RMSNorm(WIDTH),
        "lm_head": linear(TOKENS, WIDTH),
    }
    for k in range(layers):
        at = f"backbone.layers.{k}"
        parts |= {f"{at}.norm": RMSNorm(WIDTH), f"{at}.mixer": Plain(A_log=(MANY, states), D=(MANY,))}
        parts |= {f"{at}.mixer.in_proj": linear(HIDDEN, WIDTH, True), f"{at}.mixer.out_proj": linear(WIDTH, HIDDEN)}
        parts |= {f"{at}.mixer.conv1d": nn.Conv1d(MANY, MANY, 4, groups=MANY)}
        parts |= {f"{at}.mixer.x_proj": linear(rank + 2 * states, WIDTH)}
        parts |= {f"{at}.mixer.dt_proj": linear(MANY, rank, True)}

    def output(x, layer):
        default(x, layer)
        if rescale:
            x /= math.sqrt(layers)

    return filled(
        parts,
        {
            r"norm(_f)?\.weight|D": ones, r"embedding\.weight": normal(0.02), r"in_proj\.bias": zeros,
            r"out_proj\.weight": output, r"dt_proj\.bias": steps,
            r"A_log": lambda x, layer: x.copy_(torch.arange(1, states + 1.0).log().expand_as(x)),
            r"dt_proj\.weight": lambda x, layer: init.uniform_(x, -(rank**-0.5), rank**-0.5),
            r"conv1d\.bias": lambda x, layer: init.uniform_(x, -0.5, 0.5), r"\w+\.weight": default,
        },
    )  # fmt: skip


def modded_nanogpt(layers=3, world_size=8):
    parts = {path: linear(TOKENS, WIDTH) for path in ("lm_head", "embed", "embed2", "value_embeds.0", "value_embeds.4")}
    parts |= {path: linear(1, MANY) for path in ("smear_gate", "skip_gates.0", "skip_gates.2")}
    for k in range(layers):
        parts[f"blocks.{k}.attn"] = Plain(qkvo_w=(4 * WIDTH, WIDTH))
        parts |= {f"blocks.{k}.attn.{gate}": linear(4, 16) for gate in ("attn_gate", "value_embed_gate")}
        parts[f"blocks.{k}.mlp"] = Plain(c_fc=(4 * WIDTH, WIDTH), c_proj=(4 * WIDTH, WIDTH))
    bound = math.sqrt(3 / WIDTH)

    def attention(x, layer):
        init.uniform_(x[: 3 * WIDTH], -bound, bound)
        init.zeros_(x[3 * WIDTH :])

    root = filled(
        parts,
        {
            r"lm_head\.weight": normal(0.005), r"embed2?\.weight": normal(1.0), r"qkvo_w": attention,
            r"c_fc": lambda x, layer: init.uniform_(x, -bound / 2, bound / 2), r".*": zeros,
        },
    )  # fmt: skip
    numbers = [1.05] * layers + [0.5, 1.0] * layers + [0.0, 0.5, -1.5, -1.5, -1.5]
    root.scalars = nn.Parameter(torch.tensor(numbers + [1.0] * (-len(numbers) % world_size)))
    root.x0_lambdas = nn.Parameter(torch.zeros(2 * layers))
    return root


def modded_nanogpt_short(layers=11, world_size=8):
    """With 6 heads of 8 channels; `train_gpt.py` itself has 6 of 128."""
    width, matrices = 48, layers - 1
    parts = {"smear_gate": linear(1, 12), "bigram_embed": linear(20, 16), "lm_head": linear(width, TOKENS)}
    parts["embed"] = linear(TOKENS, width)
    root = filled(parts, {r"lm_head\.weight": normal(0.005), ".*": zeros})
    root.embed.weight.data.copy_(root.lm_head.weight.T)
    s = 0.5 * math.sqrt(3 / width)

    def bank(count):
        x = torch.zeros(-(-count // world_size) * world_size, 16, width)
        x[:count].uniform_(-s, s)
        return x

    def low_rank():
        return torch.stack([init.kaiming_uniform_(torch.empty(64, width), a=math.sqrt(5)) for _ in range(2)])

    mlp = torch.zeros(12, 2, 4 * width, width)
    mlp[:, 0].uniform_(-s, s)
    mudd, gates = torch.zeros(2, 14), torch.zeros(2, 41)
    mudd[0, 6:] = torch.tensor([2.0, 2.0, 1.1**0.5, 1.0, 0.0, 0.05, 1.1**0.5, 1.0]) / 0.1
    mudd[1, 1] = -5.0
    gates[:, 12:18], gates[0, 19:26:2], gates[1, 19:28:2], gates[1, 28], gates[1, 29:35] = 2.5, 0.5, 0.5, 5.0, 10.0
    numbers = [0.5, 1.0] * layers + [0.0, -1.5]
    for name, x in {
        "qk_bank": bank(6 * matrices), "vo_bank": bank(2 * matrices), "mlp_bank": mlp, "mudd_b2": mudd,
        "value_embeds": 0.01 * torch.randn(5 * TOKENS, width), "ve_gate_bank": torch.zeros(5, 6, 12),
        "mudd_w1": low_rank(), "mudd_w2": torch.zeros(2, 14, 64), "mudd_gate_w1": low_rank(), "mudd_gate_b2": gates,
        "mudd_gate_w2": torch.zeros(2, 41, 64), "_mudd_gate_scale": torch.tensor(0.1),
        "post_lambdas": torch.ones(layers, 2), "resid_lambdas": torch.full((layers, 2), 1.1**0.5),
        "scalars": torch.tensor(numbers + [1.0] * (-len(numbers) % world_size)),
    }.items():  # fmt: skip
        setattr(root, name, nn.Parameter(x))
    return root


def test_the_short_tracks_embedding_is_its_head():
    root = init_module_(modded_nanogpt_short(), recipes.modded_nanogpt(track="short"), seed=0)
    assert torch.equal(root.embed.weight, root.lm_head.weight.T)
    assert root.embed.weight.std().item() == pytest.approx(0.005, rel=0.1)
    root.embed = linear(TOKENS, 47)
    with pytest.raises(ai.PlanError, match=r"a neighbour of the same shape, \(100, 47\); got '\.lm_head\.weight'"):
        init_module_(root, recipes.modded_nanogpt(track="short"), seed=0)


def gated_deltanet(layers=2):
    parts = {"model.embeddings": linear(TOKENS, WIDTH), "model.norm": RMSNorm(WIDTH), "lm_head": linear(TOKENS, WIDTH)}
    for k in range(layers):
        at = f"model.layers.{k}"
        parts |= {f"{at}.attn": Plain(A_log=(MANY,), dt_bias=(MANY,)), f"{at}.attn.o_norm": RMSNorm(WIDTH)}
        parts |= {f"{at}.attn.{w}_proj": linear(WIDTH, WIDTH) for w in "qkvabgo"}
        parts |= {f"{at}.attn.{w}_conv1d": Plain(weight=(MANY, 1, 4), bias=(WIDTH,)) for w in "qkv"}
        parts |= {f"{at}.mlp.{w}_proj": linear(WIDTH, WIDTH) for w in ("gate", "up", "down")}
    return filled(
        parts,
        {
            r"\w*norm\.weight": ones, r"A_log": lambda x, layer: x.uniform_(0, 16).log_(), r"dt_bias": steps,
            r"\w+\.bias": zeros, r"\w+\.weight": normal(0.02),
        },
    )  # fmt: skip


def xlstm(layers=3, heads=4, backend="cuda"):
    """sLSTM in layer 1, mLSTM in all others."""
    parts = {"token_embedding": linear(TOKENS, WIDTH), "lm_head": linear(TOKENS, WIDTH)}
    parts["xlstm_block_stack.post_blocks_norm"] = RMSNorm(WIDTH)
    size = WIDTH // heads
    for k in range(layers):
        at = f"xlstm_block_stack.blocks.{k}"
        parts |= {
            f"{at}.xlstm_norm": RMSNorm(WIDTH),
            f"{at}.xlstm.conv1d.conv": nn.Conv1d(MANY, MANY, 4, groups=MANY),
        }
        if k == 1:
            parts |= {f"{at}.xlstm.{gate}gate": Plain(weight=(heads, size, size)) for gate in "ifzo"}
            parts |= {f"{at}.xlstm.slstm_cell": Plain(_recurrent_kernel_=(heads, size, 4 * size), _bias_=(4 * WIDTH,))}
            parts |= {f"{at}.xlstm.group_norm": RMSNorm(WIDTH), f"{at}.ffn.proj_up": linear(HIDDEN, WIDTH)}
            parts |= {f"{at}.ffn.proj_down": linear(WIDTH, HIDDEN, True)}
        else:
            parts |= {f"{at}.xlstm.skip": Plain(learnable_skip=(WIDTH,)), f"{at}.xlstm.proj_up": linear(HIDDEN, WIDTH)}
            parts |= {f"{at}.xlstm.{w}_proj": Plain(weight=(16, 8, 8)) for w in "qkv"}
            parts |= {f"{at}.xlstm.mlstm_cell.{w}gate": linear(MANY, 3 * WIDTH, True) for w in "if"}
            parts |= {f"{at}.xlstm.mlstm_cell.outnorm": RMSNorm(WIDTH), f"{at}.xlstm.proj_down": linear(WIDTH, HIDDEN)}

    def biases(x, layer):
        ratio = layer / (layers - 1) if layers > 1 else 0.0
        forget = -(-5.0 + 12.0 * (torch.arange(size) / (size - 1)) ** (0.3 + 1.3 * ratio))
        b = torch.zeros(heads, 4, size)
        b[:, 1] = forget
        x.copy_((b if backend == "cuda" else b.permute(1, 0, 2)).reshape(-1))

    return filled(
        parts,
        {
            r"\w*norm\.weight|_recurrent_kernel_|mlstm_cell\.[if]gate\.weight|proj_down\.bias": zeros,
            r"learnable_skip": ones, r"mlstm_cell\.igate\.bias": normal(0.1), r"_bias_": biases,
            r"mlstm_cell\.fgate\.bias": lambda x, layer: x.copy_(torch.linspace(3.0, 6.0, MANY)),
            r"proj_down\.weight": normal(2 / layers / math.sqrt(WIDTH)), r"conv\.weight": default,
            r"conv\.bias": lambda x, layer: init.uniform_(x, -0.5, 0.5),
            r"\w+\.weight": normal(math.sqrt(2 / (5 * WIDTH))),
        },
    )  # fmt: skip


MODELS = {  # name -> (constructor, rules, how many are made)
    "Llama 3 of torchtitan": (llama3, recipes.torchtitan(layers=3), 2),
    "Llama 3 by all layers": (lambda: llama3(depth_init=False), recipes.torchtitan(layers=3, depth_init=False), 2),
    "Llama 3, tied": (lambda: llama3(tied=True), recipes.torchtitan(layers=3, tied=True), 2),
    "DeepSeek-V3 of torchtitan": (deepseek, recipes.torchtitan(layers=3), 5),
    "GPT-OSS of torchtitan": (titan_gpt_oss, recipes.torchtitan_gpt_oss(layers=2), 5),
    **{
        f"OLMo-core, {method}": (lambda method=method: olmo(method), recipes.olmo(method, layers=3), 2)
        for method in ("normal", "llama", "llama_depth", "fan_in", "normalized")
    },
    **{
        f"OLMo-core, experts, {method}": (
            lambda method=method: olmo(method, moe=True), recipes.olmo(method, layers=3), 2,
        )
        for method in ("normal", "llama", "llama_depth", "normalized")
    },
    "OLMo-core, other std": (
        lambda: olmo("normal", std=0.1, embedding_std=1.0), recipes.olmo(layers=3, std=0.1, embedding_std=1.0), 2,
    ),
    "OLMo-core, recurrent": (lambda: olmo("llama", recurrent=True), recipes.olmo("llama", layers=3), 5),
    "nanochat": (nanochat, recipes.nanochat(width=WIDTH), 5),
    "Megatron": (megatron, recipes.megatron(layers=3), 5),
    "Megatron, embeddings": (lambda: megatron(embedding_std=1.0), recipes.megatron(layers=3, embedding_std=1), 5),
    "Megatron, zero-centred": (
        lambda: megatron(zero_centered=True), recipes.megatron(layers=3, zero_centered=True), 5,
    ),
    "Megatron, hybrid": (lambda: megatron(hybrid=True), recipes.megatron(layers=3, hybrid=True), 5),
    "Mamba-2": (mamba2, recipes.mamba2(layers=3), 5),
    "Mamba-2 with feed-forward layers": (lambda: mamba2(mlp=True), recipes.mamba2(layers=3, mlp=True), 5),
    "Mamba-2, not rescaled": (lambda: mamba2(rescale=False), recipes.mamba2(layers=3, rescale=False), 5),
    "Mamba": (mamba, recipes.mamba(layers=3), 5),
    "Mamba, not rescaled": (lambda: mamba(rescale=False), recipes.mamba(layers=3, rescale=False), 5),
    "modded-nanogpt": (modded_nanogpt, recipes.modded_nanogpt(layers=3), 2),
    "modded-nanogpt on 7 GPUs": (
        lambda: modded_nanogpt(world_size=7), recipes.modded_nanogpt(layers=3, world_size=7), 2,
    ),
    "modded-nanogpt, short": (modded_nanogpt_short, recipes.modded_nanogpt(track="short"), 2),
    "modded-nanogpt, short, on 3 GPUs": (
        lambda: modded_nanogpt_short(5, 3), recipes.modded_nanogpt(5, world_size=3, track="short"), 2,
    ),
    "OLMo-core, experts, fan_in": (
        lambda: olmo("fan_in", moe=True), recipes.olmo("fan_in", layers=3, width=WIDTH, expert_hidden=32), 2,
    ),
    "Gated DeltaNet": (gated_deltanet, recipes.gated_deltanet(), 5),
    "xLSTM": (xlstm, recipes.xlstm(layers=3, width=WIDTH), 5),
    "xLSTM, vanilla": (
        lambda: xlstm(backend="vanilla"), recipes.xlstm(layers=3, width=WIDTH, backend="vanilla"), 5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_as_their_sources_fill_them(name):
    torch.manual_seed(0)
    make, rules, times = MODELS[name]
    with torch.no_grad():
        plan = check_module(make, rules, times)
    assert all(entry.rule is not None for entry in plan)


@pytest.mark.parametrize("name", MODELS)
def test_another_number_in_a_rule_is_noticed(name):
    """The comparison above would fail with any other std, bound, power or end of a rule that decides something."""
    torch.manual_seed(1)
    make, rules, times = MODELS[name]
    with torch.no_grad():
        models = [tensors(make()) for _ in range(times)]
        module = make()
    used = {id(entry.rule) for entry in init_module_(module, rules, seed=0, dry_run=True)}
    noticed = 0
    for place, rule in enumerate(rules):
        if id(rule) not in used:
            continue
        for number, value in rule.initializer.items:
            if type(value) is not float:
                continue
            other = ai.spec(
                rule.initializer.name,
                **rule.initializer.parameters | {number: value * 0.75 or (0.005 if number == "a" else 1.0)},
            )
            changed = ai.Rules([*rules[:place], replace(rule, initializer=other), *rules[place + 1 :]])
            with pytest.raises(AssertionError):
                check_plan(init_module_(module, changed, seed=0, dry_run=True), models)
            noticed += 1
    assert noticed >= 1


SMALL = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": HIDDEN,
    "vocab_size": TOKENS, "num_key_value_heads": 2,
}  # fmt: skip
EXPERTS = {"moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2}
LINEAR = {
    "linear_num_value_heads": 32, "linear_num_key_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 4,
    "layer_types": ["linear_attention", "full_attention"], "head_dim": 16,
}  # fmt: skip
MAMBA = {
    "vocab_size": TOKENS, "hidden_size": WIDTH, "num_heads": 32, "head_dim": 4, "n_groups": 1, "state_size": 8,
    "num_hidden_layers": 2,
}  # fmt: skip
DEEPSEEK = SMALL | {
    "n_routed_experts": 8, "n_group": 2, "topk_group": 1, "moe_intermediate_size": 32, "num_key_value_heads": 4,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
    "first_k_dense_replace": 1, "num_experts_per_tok": 2,
}  # fmt: skip
GPT_OSS = SMALL | {"num_attention_heads": 64, "head_dim": 2, "num_local_experts": 64, "intermediate_size": 8}
CONFIGS = {  # name of the model -> (name of its configuration, its arguments, rules, how many are made)
    "MixtralForCausalLM": ("MixtralConfig", SMALL | {"num_local_experts": 8}, recipes.moe(), 5),
    "Qwen3MoeForCausalLM": ("Qwen3MoeConfig", SMALL | EXPERTS, recipes.moe(), 5),
    "DeepseekV3ForCausalLM": ("DeepseekV3Config", DEEPSEEK, recipes.moe(), 5),
    "GptOssForCausalLM": ("GptOssConfig", GPT_OSS | {"initializer_range": 0.05}, recipes.moe(std=0.05), 32),
    "MambaForCausalLM": (
        "MambaConfig", {key: MAMBA[key] for key in ("vocab_size", "hidden_size", "state_size", "num_hidden_layers")},
        recipes.mamba(layers=2, library="transformers"), 40,
    ),
    "Mamba2ForCausalLM": ("Mamba2Config", MAMBA, recipes.mamba2(layers=2, library="transformers"), 70),
    "Mamba2Model": (
        "Mamba2Config", MAMBA | {"rescale_prenorm_residual": True, "use_bias": True, "initializer_range": 0.02},
        recipes.mamba2(layers=2, library="transformers", rescale=True, std=0.02), 70,
    ),
    "Qwen3NextForCausalLM": (
        "Qwen3NextConfig", SMALL | EXPERTS | LINEAR | {"shared_expert_intermediate_size": 32},
        recipes.gated_deltanet(library="transformers"), 70,
    ),
    "Qwen3_5ForCausalLM": (
        "Qwen3_5TextConfig", SMALL | LINEAR, recipes.gated_deltanet(library="transformers"), 70,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_models_of_transformers(name):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config, arguments, rules, times = CONFIGS[name]
    make = lambda: getattr(transformers, name)(getattr(transformers, config)(**arguments))  # noqa: E731
    plan = check_module(make, rules, times)
    assert all(entry.rule is not None for entry in plan if not entry.parameter.optional)


def test_layers_beyond_those_of_a_recipe_are_refused():
    """Nothing else in these recipes matches what depends on the depth, so that no layer is drawn with a wrong scale."""
    with torch.no_grad():
        for module, rules, path in (
            (llama3(layers=4), recipes.torchtitan(layers=3), "layers.3.attention.wo.weight"),
            (titan_gpt_oss(), recipes.torchtitan_gpt_oss(layers=1), "layers.1.attention.wo.weight"),
            (olmo("llama_depth"), recipes.olmo("llama_depth", layers=2), "blocks.2.attention.w_out.weight"),
            (xlstm(), recipes.xlstm(layers=1, width=WIDTH), "xlstm_block_stack.blocks.1.xlstm.slstm_cell._bias_"),
        ):
            with pytest.raises(ai.PlanError, match=re.escape(path)):
                init_module_(module, rules, seed=0)


def test_a_model_with_fewer_layers_is_told_of():
    with torch.no_grad(), pytest.warns(UserWarning, match=r"apply to no parameter .*layers\\\.3"):
        init_module_(llama3(layers=3), recipes.torchtitan(layers=4), seed=0, dry_run=True)


def test_numbers_of_experts_are_not_those_of_layers():
    rules = recipes.torchtitan(layers=8)
    path = "layers.3.moe.experts.0.w2.weight"
    assert rules.find(path, (4, 4)).initializer == ai.spec("trunc_normal", std=0.02 / math.sqrt(8))
    other = recipes.torchtitan(layers=8, container="h")
    assert other.find("model.h.1.mlp.down_proj.weight", (4, 4)).initializer == ai.spec("trunc_normal", std=0.01)
    assert other.find(path, (4, 4)) is None


def test_weights_of_transformers_names_scaled_as_torchtitan_scales_them():
    transformers = pytest.importorskip("transformers")
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL))
    plan = init_module_(model, recipes.torchtitan(layers=2), seed=0, dry_run=True)
    laws = {entry.path: entry.initializer for entry in plan}
    for k in range(2):
        scaled = ai.spec("trunc_normal", std=0.02 / math.sqrt(2 * (k + 1)))
        mlp, attention = f"model.layers.{k}.mlp", f"model.layers.{k}.self_attn"
        assert [laws[f"{mlp}.{name}_proj.weight"] for name in ("up", "down")] == [scaled] * 2
        assert laws[f"{attention}.o_proj.weight"] == scaled
        for path in (f"{mlp}.gate_proj", *(f"{attention}.{name}_proj" for name in "qkv")):
            assert laws[f"{path}.weight"] == ai.spec("trunc_normal", std=0.02)
    assert laws["model.embed_tokens.weight"] == ai.spec("normal")
    assert laws["lm_head.weight"] == ai.spec("scaled_truncated_normal")


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: recipes.torchtitan(layers=0), ValueError, "`layers` must be at least 1; got 0"),
        (lambda: recipes.torchtitan(depth_init=1), TypeError, "`depth_init` must be True or False; got 1"),
        (lambda: recipes.torchtitan(tied="no"), TypeError, "`tied` must be True or False; got 'no'"),
        (lambda: recipes.torchtitan(container=""), TypeError, "`container` must be the word before the numbers"),
        (lambda: recipes.torchtitan_gpt_oss(std=-1), ValueError, "`std` must not be negative; got -1"),
        (lambda: recipes.olmo("llama2"), ValueError, "`method` must be one of 'normal', 'llama', .*; got 'llama2'"),
        (lambda: recipes.olmo("llama", embedding_std=1.0), ValueError, "`embedding_std` is of the method 'normal'"),
        (lambda: recipes.olmo(embed_scale=8.0), ValueError, "`embed_scale` is of the method 'fan_in' alone; got 8.0"),
        (lambda: recipes.olmo("fan_in", embed_scale=0), ValueError, "`embed_scale` must be positive; got 0"),
        (lambda: recipes.nanochat(width=0), ValueError, "`width` must be at least 1; got 0"),
        (lambda: recipes.megatron(embedding_std=-1), ValueError, "`embedding_std` must not be negative; got -1"),
        (lambda: recipes.megatron(hybrid=2), TypeError, "`hybrid` must be True or False; got 2"),
        (lambda: recipes.moe(layers=0), ValueError, "`layers` must be at least 1; got 0"),
        (lambda: recipes.olmo("llama", width=64), ValueError, "`width` is of the method 'fan_in' alone; got 64"),
        (
            lambda: recipes.olmo("fan_in", width=64),
            ValueError,
            "`width` and `expert_hidden` must be given together; got width=64 and expert_hidden=None",
        ),
        (lambda: recipes.mamba(library="fla"), ValueError, "`library` must be one of 'mamba_ssm', 'transformers'"),
        (lambda: recipes.modded_nanogpt(world_size=0), ValueError, "`world_size`"),
        (lambda: recipes.modded_nanogpt(track="long"), ValueError, "`track` must be one of 'medium', 'short'"),
        (lambda: recipes.modded_nanogpt(1, track="short"), ValueError, "`layers` must be at least 2 .* got 1"),
        (lambda: recipes.mamba2(library="fla"), ValueError, "`library` must be one of 'mamba_ssm', 'transformers'"),
        (lambda: recipes.mamba2(mlp=True, library="transformers"), ValueError, "`mlp` is of the library 'mamba_ssm'"),
        (lambda: recipes.mamba2(rescale=0), TypeError, "`rescale` must be True or False; got 0"),
        (lambda: recipes.gated_deltanet(library=None), ValueError, "`library` must be one of 'fla', 'transformers'"),
        (lambda: recipes.xlstm(backend="triton"), ValueError, "`backend` must be one of 'cuda', 'vanilla'"),
        (lambda: recipes.xlstm(heads=0), ValueError, "`heads` must be at least 1; got 0"),
    ],
)
def test_wrong_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()
