"""How numbers of things are said."""


def plain(value: float) -> str:
    """Write a number with all its digits, never with an exponent."""
    return f"{value:,.15g}" if abs(value) >= 1e-4 or not value else f"{value:.15f}".rstrip("0")  # noqa: PLR2004


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """Write a number of things for people; `nouns` is for a noun that takes more than an s."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
