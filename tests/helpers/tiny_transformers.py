"""Tiny models of the library transformers: any model type, with a configuration that is shrunk by names of fields.

A configuration starts as its type's default. Integers whose names say what they are (a width, a number of layers, a
vocabulary) are cut by :data:`SIZES`; lists of widths are divided; what a configuration computes from its other fields
is left to it. Configurations within a configuration are shrunk alike. :data:`OVERRIDES` has what some types need
besides, mostly to satisfy their own checks. Ranges of initializers are never touched.

Left out are types without a model class of their own (29), those that need other libraries (timm, natten, detectron2,
torchaudio: 7), two that transformers 5.23 can't build, and four whose fields want more exceptions; `tiny_model` raises
for them. The other 762 of 804 types can be built. A backbone of timm becomes a small ResNet. A model is the one with a
head, of which the plain model is a part, where the type has one.
"""

import dataclasses
import importlib
import os
import pkgutil
import re
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # all configurations are defaults: nothing is to be looked up

import transformers
from transformers import PreTrainedConfig, PreTrainedModel, ResNetConfig
from transformers.models.auto import configuration_auto, modeling_auto

__all__ = ["MODEL_TYPES", "model_class", "tiny_config", "tiny_model"]

MODEL_TYPES: list[str] = list(configuration_auto.CONFIG_MAPPING_NAMES)
HEADS = ("ForCausalLM", "ForConditionalGeneration", "ForPreTraining", "ForMaskedLM", "For")  # the preferred one first

LAYERS, WIDTH, FFN = 2, 32, 64
# The most that an integer may be -> the last words of the names of such fields. The first row that matches counts.
SIZES = [
    (2, """num_experts_per_tok num_experts_per_token experts_per_token moe_topk moe_k moe_top_k top_k_experts
        num_selected_experts n_group"""),
    (1, "topk_group"),
    (4, "num_filters num_experts n_routed_experts num_local_experts n_experts expert_num num_routed_experts"),
    (16, r"context_size max_grid_\w+_position_embeddings visual_prompt_size"),
    (WIDTH, "upsample_groups"),
    (128, r"""vocab_size num_embeddings vocab_size_per_layer_input codebook_size byte_group_vocab num_hash_buckets
        num_embeds ngram_vocab_size_base num_\w*_labels num_buckets_hash head_out_channels vocoder_num_spkrs
        num_classes"""),
    (None, """id ids index indices indexes kernel kernel_size stride strides num_channels in_chans image_size patch_size
        mel_bins rate seed theta factor ratio window groups num_labels state_size chunk_size token tokens levels points
        scale buckets distance type_vocab_size"""),
    (64, r"""max_position_embeddings n_positions max_\w+_positions n_ctx seq_len context_length max_length max_ep_len
        max_2d_position_embeddings block_size max_img_size max_sequence_length max_pos_emb max_xpath_\w+_embeddings
        \w+coder_position_embeddings"""),
    (10, """num_queries num_denoising num_latents num_query_tokens num_parallel_samples two_stage_num_proposals
        num_prompts n_latents"""),
    (LAYERS, """layers n_layer h_layer depth depths num_blocks blocks_per_stage num_loops num_layers_per_stack
        num_self_attends_per_block num_block_repeats stage_num_blocks block_sizes stage_numb_of_layers
        num_hidden_groups"""),
    (4, r"""n_head n_heads num_heads attention_heads kv_heads num_\w*key_value_heads num_key_heads num_value_heads
        num_attention_groups heads"""),
    (8, "head_dim d_kv d_head dim_head attention_head_size kv_channels"),
    (16, "lora_rank rank lora_dim low_rank"),
    (FFN, """intermediate_size intermediate_dim ffn_dim d_ff ff_dim mlp_dim d_inner dim_feedforward feedforward_dim
        dim_ff dff ffn_hidden_size feed_forward_size linear_units mlp_hidden_size moe_hidden_size n_inner
        feed_forward_hidden_size intermediate_size_mlp"""),
    (WIDTH, """hidden_size d_model n_embd dim embedding_size embed_size width channel channels hidden_sizes units
        embed_dim_per_stage projection_size proj_size pooler_output_size output_dim output_dims feature_size
        num_pos_feats lru_width channel_list dims coordinate_size shape_size out_channel hidden features width_list
        output_size input_size vector_size chans d_latents size_global"""),
]  # fmt: skip
_PATTERNS = [(re.compile(rf"(?:.*_)?(?:{'|'.join(names.split())})"), most) for most, names in SIZES]

COMMON = {field.name for field in dataclasses.fields(PreTrainedConfig)}
DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth", "encoder_layers", "decoder_layers")

_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_SWIN = {"embed_dim": 24}
_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16}
_SERIES = {"prediction_length": 4, "context_length": 8}
# Model type, or name of the class of a configuration -> fields, or fields of a configuration within it.
OVERRIDES: dict[str, dict[str, Any]] = {
    "EsmFold2AtomEncoderConfig": {"num_spatial_rope_pairs_per_axis": 1, "num_uid_rope_pairs": 1},
    "Qwen3OmniMoeTalkerConfig": {"spatial_merge_size": 2},
    "autoformer": _SERIES,
    "bamba": _MAMBA,
    "bit": {"num_groups": 4},
    "bridgetower_vision_model": {"hidden_size": 128},
    "chameleon": {"vocabulary_map": {"<image>": 5, "IMGIMGA": 6, "IMGIMGB": 7, "a": 8}},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}},
    "cosmos3_edge_text": {"rope_parameters": {**_ROPE, "mrope_section": [2, 1, 1]}},
    "cvt": {"depth": [1, 2, 3]},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "kv_n_heads": 2}},
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"]},
    "diffusion_gemma_text": {"num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 64},
    "donut-swin": _SWIN,
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1, "num_experts_per_tok": 2},
    "dots3_note_text": {
        "kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8,
        "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16, "layer_types": ["indexed_attention"] * 2,
    },
    "emu3": {"vocabulary_map": {"<|extra_200|>": 5, "<image>": 6, "<|visual token 000001|>": 7}},
    "ernie4_5_vl_moe_text": {"rope_parameters": {**_ROPE, "mrope_section": [1, 1, 2]}},
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "esmfold2": {"single_inputs_size": 99},
    "falcon_h1": {**_MAMBA, "mamba_d_ssm": 64},
    "fun_asr_nano": {"adaptor_config": {"intermediate_size": 8}},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]]},
    "granite4_vision": {
        "vision_config": {"hidden_size": 128}, "deepstack_layer_map": [(0, 0), (1, 1)],
        "spatial_target_layers": [0, 1], "downsample_rate": "1/2",
    },
    "granitemoehybrid": _MAMBA,
    "hiera": {"decoder_hidden_size": 32, "decoder_depth": 1, "decoder_num_heads": 4},
    "informer": _SERIES,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "maskformer-swin": _SWIN,
    "mobilevit": {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [16, 16, 24, 24, 32, 32, 64]},
    "molmo2_adapter": {"vision_feature_layer": [1, 0]},
    "moonshine_streaming": {"num_key_value_heads": 4},
    "muse_spark_audio": {"num_hidden_layers": 4},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 2},
    "neomme": {"rope_parameters": {"full_attention": {"partial_rotary_factor": 0.5}, "sliding_attention": {}}},
    "pix2struct_text_model": {"initializer_range": 0.02},
    "qwen3_omni_moe_talker_text": {"shared_expert_intermediate_size": 64},
    "qwen4_exp_text": {
        "indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 16,
        "indexer_compress_ratio": 4,
    },
    "sam2_hiera_det_model": {
        "hidden_size": 16, "embed_dim_per_stage": [16, 32, 64, 128], "blocks_per_stage": [1, 1, 2, 1],
        "global_attention_blocks": [3],
    },
    "sam2_vision_model": {"backbone_channel_list": [128, 64, 32, 16]},
    "swin2sr": _SWIN,
    "swinv2": _SWIN,
    "t5gemma2_decoder": {"dropout_rate": 0.0},
    "t5gemma2_text": {"dropout_rate": 0.0},
    "time_series_transformer": _SERIES,
    "vitmatte": {"fusion_hidden_sizes": [64, 32, 16, 8]},
    "wav2vec2-bert": {"vocab_size": 32},
    "zamba": {
        "num_hidden_layers": 5,
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
}  # fmt: skip


def tiny_model(model_type: str) -> PreTrainedModel:
    """A tiny model of a type, built as a user builds it; an exception of any kind where that does not work."""
    return model_class(model_type)(tiny_config(model_type))


def model_class(model_type: str) -> type[PreTrainedModel]:
    """The class with a head of a type, or its plain model; LookupError where the type has no class of its own."""
    config_class = configuration_auto.CONFIG_MAPPING[model_type]
    folder = configuration_auto.model_type_to_module_name(model_type)
    package = importlib.import_module(f"transformers.models.{folder}")
    modules = [info.name for info in pkgutil.iter_modules(package.__path__) if info.name.startswith("modeling_")]
    own = {
        name: value
        for module in modules
        for name, value in vars(importlib.import_module(f"{package.__name__}.{module}")).items()
        if isinstance(value, type) and issubclass(value, PreTrainedModel) and value.config_class is config_class
        and "PreTrainedModel" not in name
    }  # fmt: skip
    listed = modeling_auto.MODEL_MAPPING_NAMES.get(model_type, ())
    plain = [listed] if isinstance(listed, str) else list(listed)
    with_head = [name for head in HEADS for name in own if head in name]
    for name in (*with_head, *plain, *sorted(own, key=len)):
        if name in own:
            return own[name]
    if plain:  # another type's class
        return getattr(transformers, plain[0])
    raise LookupError(f"{model_type} has no model class of its own")


def tiny_config(model_type: str) -> PreTrainedConfig:
    """The default configuration of a type, shrunk."""
    return _shrunk(configuration_auto.CONFIG_MAPPING[model_type](), {})


def _shrunk(config: PreTrainedConfig, given: dict[str, Any]) -> PreTrainedConfig:
    """A new, small configuration of the same class, with what is given for it."""
    if config.model_type.startswith("timm"):
        layers = {"embedding_size": 8, "hidden_sizes": [8, 16, 32, 64], "depths": [1] * 4, "layer_type": "basic"}
        indices = _value(config, "out_indices") or [4]
        return ResNetConfig(**layers, out_indices=indices, hidden_size=64, model_args={"embed_dim": 64})
    cls = type(config)
    given = {**OVERRIDES.get(cls.__name__, OVERRIDES.get(config.model_type, {})), **given}
    fields = [field for field in dataclasses.fields(config) if field.name not in COMMON]
    depth = next((n for n in (_value(config, name) for name in DEPTHS) if isinstance(n, int)), None)
    values: dict[str, Any] = {}
    for field in fields:
        name, value = field.name, _value(config, field.name)
        if isinstance(value, PreTrainedConfig):
            values[name] = _shrunk(value, given.pop(name, {}))
        elif value is not None and not name.startswith("_out_"):
            is_computed = field.default is None or field.default is field.default_factory is dataclasses.MISSING
            small = _small(name, value, depth, is_computed)
            if small is not None and small != field.default:
                values[name] = small
    vocabulary = values.get("vocab_size", _value(config, "vocab_size"))
    for name in (field.name for field in dataclasses.fields(config)):
        token = _value(config, name)
        if name.endswith(("_token_id", "padding_idx")) and isinstance(token, int) and isinstance(vocabulary, int):
            values |= {name: token % (vocabulary - 3)} if token >= vocabulary else {}
    if any(field.name == "head_dim" for field in fields) and _value(config, "head_dim") is None:
        values["head_dim"] = _limit("head_dim")
    values |= given
    features = _value(config, "out_features")  # of a backbone, where these stages are left
    if features and set(features) <= set(getattr(cls(**values), "stage_names", ())):
        values["out_features"] = features
    return cls(**values)


def _small(name: str, value: Any, depth: int | None, is_computed: bool) -> Any:
    """The value of a field, shrunk; None where the configuration is to find it, for it was computed from others."""
    most = _limit(name)
    if isinstance(value, list | tuple) and value and not isinstance(value[0], dict):
        if len(value) == depth and depth > LAYERS and (depth > 8 or ("layer" in name and most != LAYERS)):
            return _first_kinds(value)
        if most == LAYERS:
            return type(value)(min(n, 1) if isinstance(n, int) else n for n in value)
        if most in (WIDTH, FFN):
            return _divided(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        is_computed = is_computed and name not in ("hidden_size", "d_model", "vocab_size") and "heads" not in name
        value = value if most is None else min(value, most)
    return None if is_computed else value


def _value(config: PreTrainedConfig, name: str) -> Any:
    """The value of a field; None where there is none, or one for each layer."""
    try:
        return getattr(config, name, None)
    except Exception:  # a field that differs by layer
        return None


def _limit(name: str) -> int | None:
    """The most that an integer field may be; None for one that stays."""
    return next((most for pattern, most in _PATTERNS if pattern.fullmatch(name)), None)


def _first_kinds(values: Any) -> Any:
    """Of a list with an entry for each layer, entries for fewer layers: of different kinds, if there are."""
    places = dict.fromkeys([*dict.fromkeys(map(values.index, values)), *range(len(values))])
    return type(values)(values[k] for k in sorted([*places][:LAYERS]))


def _divided(value: Any) -> Any:
    """A width, or a list of them of any depth, divided by 8; small ones stay."""
    if isinstance(value, list | tuple):
        return type(value)(map(_divided, value))
    return max(value // 8, 8) if isinstance(value, int) and value >= 24 else value
