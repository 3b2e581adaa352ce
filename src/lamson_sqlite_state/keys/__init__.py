"""What a key and a row are: their columns, their literals, and one form for people.

This folder knows no storage. A storage turns a key into a column value with `columns`, and turns
the value into the key again with `literals`. `rows` has the one form in which rows are shown, typed
and compared.
"""
