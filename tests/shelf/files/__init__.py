"""Shelves that real dbm libraries wrote, and the program that had them written."""
