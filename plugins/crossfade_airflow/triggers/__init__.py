"""What waits in the triggerer. Triggers may run twice, so they change nothing but a watermark, which may grow twice."""
