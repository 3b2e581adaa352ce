"""What a person sees of a soak: the terminal while it runs, and the page in the end."""
