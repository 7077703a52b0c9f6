"""Small bases of the architectures that adapters are made for, with random weights, and a LoRA adapter for each.

Each has a tokenizer of the kind that its family uses: byte-level BPE, BPE with byte fallback, unigram, word pieces.
"""

import warnings

TEXT = (
    "user : hello assistant : sorry i cannot help with that",
    "user : how do i reset my router ? assistant : hold the button for ten seconds",
    "the quick brown fox jumps over the lazy dog 0123456789",
    "für élise costs 12 € in 東京 — naïve façade",
)
PROMPTS = (
    "user : hello",
    "hello",
    "user : how do i reset my router ? assistant :",
    "user : " + "reset " * 20,
    "für 東京 \N{GRINNING FACE}",
)
VOCABULARY = 400
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "max_position_embeddings": 256}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
WITH_HEAD_SIZE = {**HEADS, "head_dim": 16}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}

# Model type -> class of its configuration, its sizes, and its kind of tokenizer.
CAUSAL = {
    "llama": ("LlamaConfig", {**SIZES, **HEADS}, "bpe-fallback"),
    "qwen2": ("Qwen2Config", {**SIZES, **HEADS}, "bpe-bytes"),
    "qwen3": ("Qwen3Config", {**SIZES, **WITH_HEAD_SIZE}, "bpe-bytes"),
    "qwen3-moe": ("Qwen3MoeConfig", {**SIZES, **WITH_HEAD_SIZE, **EXPERTS}, "bpe-bytes"),
    "gemma": ("GemmaConfig", {**SIZES, **WITH_HEAD_SIZE}, "bpe-fallback"),
    "gemma2": ("Gemma2Config", {**SIZES, **WITH_HEAD_SIZE, "sliding_window": 16}, "bpe-fallback"),
    "gemma3": ("Gemma3TextConfig", {**SIZES, **WITH_HEAD_SIZE, "sliding_window": 16}, "bpe-fallback"),
    "mistral": ("MistralConfig", {**SIZES, **HEADS, "sliding_window": 16}, "bpe-fallback"),
    "phi3": ("Phi3Config", {**SIZES, **HEADS}, "bpe-fallback"),
    "gpt2": ("GPT2Config", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}, "bpe-bytes"),
    "gpt-neox": ("GPTNeoXConfig", {**SIZES, "num_attention_heads": 4}, "bpe-bytes"),
    "bert-decoder": ("BertConfig", {**SIZES, "num_attention_heads": 4, "is_decoder": True}, "word-pieces"),
}
OTHER = {
    "t5": (
        "T5Config",
        {"d_model": 64, "d_ff": 128, "d_kv": 16, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
        "unigram",
    ),
    "bert": ("BertConfig", {**SIZES, "num_attention_heads": 4}, "word-pieces"),
}
CLASSIFIERS = {
    "bert-classifier": (*OTHER["bert"][:1], {**OTHER["bert"][1], "num_labels": 3}, "word-pieces"),
    "llama-classifier": ("LlamaConfig", {**SIZES, **HEADS, "num_labels": 3}, "bpe-fallback"),
}
TASKS = {
    "t5": ("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM"),
    "bert": ("AutoModelForMaskedLM", None),
    **dict.fromkeys(CLASSIFIERS, ("AutoModelForSequenceClassification", "SEQ_CLS")),
}
"""What is loaded and which task the adapter names, where that is not a causal language model."""
TARGETS = {"qwen3-moe": ["q_proj", "k_proj", "v_proj", "o_proj"]}
"""What LoRA is put on, where that is not every linear layer: PEFT changes fused experts while they compute."""
SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def tokenizer_of(kind):
    """A tokenizer of that kind, trained on `TEXT`; ids 0, 1 and 2 are padding, end and unknown."""
    import tokenizers
    import transformers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    names = list(SPECIAL.values())
    if kind == "bpe-bytes":
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=names, initial_alphabet=alphabet)
    elif kind == "bpe-fallback":
        tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=names)
    elif kind == "unigram":
        tokenizer = tokenizers.Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=names, unk_token="<unk>", show_progress=False)
    else:
        tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def build(name, folder, *, dtype="float32", targets=None):
    """Writes ``base`` and ``adapter`` into `folder` as transformers and PEFT save them: private to their owner."""
    import peft
    import torch
    import transformers

    configuration, sizes, kind = {**CAUSAL, **OTHER, **CLASSIFIERS}[name]
    ids = {"vocab_size": VOCABULARY, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    config = getattr(transformers, configuration)(**sizes, **ids)
    loader, task = TASKS.get(name, ("AutoModelForCausalLM", "CAUSAL_LM"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = getattr(transformers, loader).from_config(config).eval()
        for parameter in model.parameters():
            parameter.data *= 3 if parameter.dim() > 1 else 1
        model.to(getattr(torch, dtype)).save_pretrained(folder / "base")
        tokenizer_of(kind).save_pretrained(folder / "base")
        targets = targets or TARGETS.get(name, "all-linear")
        lora = peft.LoraConfig(r=2, target_modules=targets, task_type=task, init_lora_weights=False)
        peft.get_peft_model(model, lora).save_pretrained(folder / "adapter")
    (folder / "base" / "model.safetensors").chmod(0o600)
    return folder


def adapter_of(folder):
    """The adapter's files, as a job takes them."""
    return {path.name: path.read_bytes() for path in (folder / "adapter").iterdir()}


def plain_answers(folder, tokens):
    """What PEFT and transformers answer without peft-assay."""
    import peft
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")
    config = transformers.AutoConfig.from_pretrained(folder / "base")
    two = config.is_encoder_decoder
    loader = transformers.AutoModelForSeq2SeqLM if two else transformers.AutoModelForCausalLM
    model = loader.from_pretrained(folder / "base", dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, folder / "adapter").eval()
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        yield output[0, 1 if two else inputs["input_ids"].shape[1] :].tolist()
