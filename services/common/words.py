"""Words of a name, as accounts are searched by: what is stored and what is asked for are cut the same way."""

from __future__ import annotations

import re
import unicodedata

LONGEST_WORD = 64
MOST_WORDS = 64

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The distinct words of `text` in order, without case, marks of width, and punctuation; long ones are cut."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return list(dict.fromkeys(word[:LONGEST_WORD] for word in found))[:MOST_WORDS]
