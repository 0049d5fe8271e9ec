"""From the text of an answer to the symbols that it names."""
