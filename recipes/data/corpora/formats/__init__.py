"""Parsers: one file format each, from bytes or text to plain text. No files, no network."""
