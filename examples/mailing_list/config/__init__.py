"""How the mailing list is put together: what is fixed (settings) and what is made of it (boot)."""
