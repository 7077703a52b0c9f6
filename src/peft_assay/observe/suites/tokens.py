"""The declared token set of a trigger scan."""

from peft_assay.core.errors import DocumentError

MAX_TOKENS = 100_000


def read_tokens(content: bytes, *, where: str) -> tuple[str, ...]:
    """One token a line, none empty, none twice; raises DocumentError."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DocumentError(f"not UTF-8 (byte {error.start})", where=where) from None
    tokens = [line.strip() for line in lines if line.strip()]
    if not tokens or len(tokens) > MAX_TOKENS:
        raise DocumentError(f"{len(tokens)} tokens; a scan has 1 to {MAX_TOKENS}", where=where)
    seen: dict[str, int] = {}
    for number, token in enumerate(tokens, start=1):
        if token in seen:
            raise DocumentError(f"token {number} repeats token {seen[token]}", where=where)
        seen[token] = number
    return tuple(tokens)
