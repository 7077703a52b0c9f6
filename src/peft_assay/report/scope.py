"""What a verdict does not rest on: said wherever a verdict is shown to people or handed on."""

NOT_TESTED: tuple[str, ...] = (
    "prompts unlike the suites', other languages, longer inputs, sampling instead of greedy decoding",
    "triggers of several tokens, or of tokens outside the declared set",
    "this adapter together with others, or on another base, engine or number type",
)
