"""Code for schemas: what a registry's schema is in Python, TypeScript and Java. Pure text; it knows nothing of the app."""

from forebay._schema.bind import STYLES, bind

__all__ = ["STYLES", "bind"]
