"""The program: HTTP, the write side, storage, keys and their wiring."""
