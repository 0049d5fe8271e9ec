"""Tables, figures and how they are rendered: what everything that reports is made of.

Nothing here knows what is shown."""
