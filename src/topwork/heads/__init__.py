"""Numbers to answers: the search for a head, its calibration, its strangers, and the figures that judge it."""
