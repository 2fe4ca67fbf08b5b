"""Bare names that people type, and the full spec that each one means."""

from typing import Final

_TORCHVISION: Final = (
    "alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169 "
    "densenet201 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet1_0 "
    "mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_400mf regnet_y_16gf regnet_y_400mf resnet101 "
    "resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext50_32x4d shufflenet_v2_x1_0 squeezenet1_1 swin_b "
    "swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg16 vgg16_bn vgg19 vit_b_16 vit_b_32 vit_h_14 vit_l_16 "
    "vit_l_32 wide_resnet50_2"
)

ALIASES: Final[dict[str, str]] = {
    **{name: f"torchvision:{name}" for name in _TORCHVISION.split()},
    **{f"efficientnet_b{n}": f"torchvision:efficientnet_b{n}" for n in range(8)},
    "vit_ti16": "transformers:vit?hidden_size=192&num_attention_heads=3&intermediate_size=768&num_labels=1000",
    "vit_s16": "transformers:vit?hidden_size=384&num_attention_heads=6&intermediate_size=1536&num_labels=1000",
    "vit_b16": "transformers:vit?num_labels=1000",
    "vit_b32": "transformers:vit?patch_size=32&num_labels=1000",
    "vit_l16": (
        "transformers:vit?hidden_size=1024&num_hidden_layers=24&num_attention_heads=16&intermediate_size=4096"
        "&num_labels=1000"
    ),
    "vit_base_patch16_224": "timm:vit_base_patch16_224",
    "vit_small_patch16_224": "timm:vit_small_patch16_224",
    "vit_tiny_patch16_224": "timm:vit_tiny_patch16_224",
    "convnext_atto": "timm:convnext_atto",
    "mixer_s32": "timm:mixer_s32_224",
    "mixer_b16": "timm:mixer_b16_224",
    "gpt2": "transformers:gpt2",
    "gpt2-medium": "transformers:gpt2?n_embd=1024&n_layer=24&n_head=16",
    "gpt2-large": "transformers:gpt2?n_embd=1280&n_layer=36&n_head=20",
    "gpt2-xl": "transformers:gpt2?n_embd=1600&n_layer=48&n_head=25",
    "distilgpt2": "transformers:gpt2?n_layer=6",
    "bert-base": "transformers:bert",
    "bert-large": (
        "transformers:bert?hidden_size=1024&num_hidden_layers=24&num_attention_heads=16&intermediate_size=4096"
    ),
    "t5-small": "transformers:t5",
    "t5-base": "transformers:t5?d_model=768&d_ff=3072&num_layers=12&num_heads=12",
    "clip-vit-b32": "transformers:clip",
    "llama-1b": (
        "transformers:llama?vocab_size=128256&hidden_size=2048&intermediate_size=8192&num_hidden_layers=16"
        "&num_attention_heads=32&num_key_value_heads=8&head_dim=64&max_position_embeddings=131072&rms_norm_eps=1e-05"
        "&tie_word_embeddings=true"
    ),
    "llama-3b": (
        "transformers:llama?vocab_size=128256&hidden_size=3072&intermediate_size=8192&num_hidden_layers=28"
        "&num_attention_heads=24&num_key_value_heads=8&head_dim=128&max_position_embeddings=131072&rms_norm_eps=1e-05"
        "&tie_word_embeddings=true"
    ),
    "llama-8b": (
        "transformers:llama?vocab_size=128256&hidden_size=4096&intermediate_size=14336&num_hidden_layers=32"
        "&num_attention_heads=32&num_key_value_heads=8&max_position_embeddings=131072&rms_norm_eps=1e-05"
    ),
    "unet2d": "diffusers:UNet2DModel",
    "dit-xl-2": "diffusers:DiTTransformer2DModel",
    "autoencoder-kl": "diffusers:AutoencoderKL",
}
"""Alias -> `source:name`, with the overrides of its size after a question mark."""

_GPT2: Final = "openai-community/gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e"
_BERT: Final = "google-bert/bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594"
_LLAMA: Final = "meta-llama/Llama-3.2-1B@4e20de362430cd3b72f300e6b0f18e50e7166e08"  # gated: it takes HF_TOKEN

TOKENIZERS: Final[dict[str, str]] = {
    **dict.fromkeys(("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2"), _GPT2),
    **dict.fromkeys(("bert-base", "bert-large"), _BERT),
    **dict.fromkeys(("llama-1b", "llama-3b", "llama-8b"), _LLAMA),
}
"""Alias -> the repository of the tokenizer that such models read, and its commit."""
