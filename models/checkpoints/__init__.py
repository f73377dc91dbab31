"""Checkpoint folders: the tokenizer, reading, converting and loading them."""
