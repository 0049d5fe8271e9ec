"""Metrics of how close generated cells are to held-out real ones (protocol section 6).

``functional`` collects the metrics as pure functions, ``registry`` lists their names, directions and floors and is
cheap to import, and ``stateful`` wraps them as torchmetrics classes for training loops and several devices.
"""
