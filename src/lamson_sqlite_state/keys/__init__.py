"""What a key and a row are: their columns, their literals, and one form for people.

This folder knows no storage. Whatever stores pairs turns a key into column values with `columns`,
turns column values into keys again with `literals`, and shows, reads and compares rows as `rows`
has them.
"""
