"""How numbers of things are said."""


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """Write a number of things for people; `nouns` is for a noun that takes more than an s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
