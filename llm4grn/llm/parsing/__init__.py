"""Parsing of answers: from the text of a reply to the symbols that it names."""
