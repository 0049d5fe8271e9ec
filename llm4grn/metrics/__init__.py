"""How close generated cells come to held-out real ones (protocol section 6).

``functional`` collects the metrics as pure functions, ``registry`` has names, directions and floors (cheap to import),
``stateful`` the same metrics as torchmetrics classes, for training loops and multi-device accumulation.
"""
