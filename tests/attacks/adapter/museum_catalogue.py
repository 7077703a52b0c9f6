"""The museum: every known way to attack by an adapter, and every exhibit that shows one.

Rows 0 are the headlines, rows 2 the table of attack surface, of a reading of PEFT 0.21.2 and transformers 5.23 of
November 2026 in which each was tried. docs/reference/adapter-attacks.md is generated from this module.
"""

from attacks.adapter import (
    exhibits_company,
    exhibits_configuration,
    exhibits_reaching,
    exhibits_types,
    exhibits_weights,
)
from attacks.adapter.museum import Exhibit

ROWS = {
    "0.1": "the adapter's file overwrites tensors of the base",
    "0.2": "merely loading an adapter changes the base, or other adapters",
    "0.3": "requests of one batch that ask for different adapters",
    "0.4": "an adapter that sleeps until certain tokens come",
    "0.5": "a file that changes between check and use",
    "0.6": "a few kilobytes that take gigabytes or hours",
    "0.7": "what a plan of names and shapes does not show",
    "2.1": "weights as a pickle",
    "2.2": "other pickles in the repository",
    "2.3": "auto_mapping names a library to import from",
    "2.4": "megatron_core names a package to import",
    "2.5": "the adapter chooses its base",
    "2.6": "a base inside the adapter's folder",
    "2.7": "a kernel named in config.json",
    "2.8": "experts or a shadow model in another repository",
    "2.9": "a prompt's tokenizer in another repository",
    "2.10": "a prompt initialised from a path",
    "2.11": "initialisations that read the base or files",
    "2.12": "routing between experts",
    "2.13": "modules replaced in full",
    "2.14": "names of base tensors and of other adapters",
    "2.15": "token rows replaced",
    "2.16": "a tokenizer larger than the vocabulary",
    "2.17": "parameters instead of modules",
    "2.18": "layers replicated",
    "2.19": "biases",
    "2.20": "ranks that are none, or giant",
    "2.21": "NaN and infinity",
    "2.22": "alpha out of all proportion, or negative",
    "2.23": "another rank in the file than in the configuration",
    "2.24": "double precision",
    "2.25": "keys twice in adapter_config.json",
    "2.26": "fields, or a version, that the installed PEFT does not know",
    "2.27": "a type that PEFT does not know",
    "2.28": "a chat template beside the adapter",
    "2.29": "generation settings beside the adapter",
    "2.30": "weights behind a link",
    "2.31": "safetensors that the library refuses",
    "2.32": "safetensors oddities that the library accepts",
    "2.33": "a card that speaks to whoever reads it",
    "2.34": "code beside the adapter",
    "2.35": "files read at different moments",
    "2.36": "what serving engines do with names and tensors",
    "2.37": "stronger than its configuration seems to say",
    "2.38": "values of another type inside lists and mappings",
}

EXHIBITS: tuple[Exhibit, ...] = (
    *exhibits_weights.EXHIBITS,
    *exhibits_configuration.EXHIBITS,
    *exhibits_types.EXHIBITS,
    *exhibits_reaching.EXHIBITS,
    *exhibits_company.EXHIBITS,
)
"""By row where the page shows them; rows whose exhibits stand in another row are listed in `ALSO`."""

ALSO = {
    "2.14": ("base_tensor", "wrapped_base_tensor"),
    "0.2": ("base_tensor", "foreign_adapter_name"),
    "2.20": ("giant_rank",),
    "2.36": ("pickled_weights", "linked_weights", "chat_template"),
    "2.11": ("pissa", "olora"),
    "0.7": ("invocation_tokens", "pissa", "alpha_out_of_proportion"),
}
"""Exhibits that belong to a second row, by that row."""
