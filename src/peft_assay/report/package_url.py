"""Package URLs (https://github.com/package-url/purl-spec) of repositories of the Hugging Face Hub."""

import re

_REPOSITORY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,95})/[A-Za-z0-9](?:[A-Za-z0-9._-]{0,95})")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def huggingface(repository: str, commit: str | None) -> str | None:
    """``pkg:huggingface/org/name@commit``; None for what is no repository, or not pinned to a commit.

    Letters keep their case: the type's definition says that namespace and name are case sensitive.
    """
    if commit is None or not _COMMIT.fullmatch(commit) or not _REPOSITORY.fullmatch(repository):
        return None
    return f"pkg:huggingface/{repository}@{commit}"
