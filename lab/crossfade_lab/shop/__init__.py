"""The sample application: an online shop whose schema holds what makes migrations hard."""
