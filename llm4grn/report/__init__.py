"""Tables, figures and their renderers, independent of what they show."""
