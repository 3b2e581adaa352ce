"""The mailing list itself."""
