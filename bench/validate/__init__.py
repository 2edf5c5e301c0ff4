"""How fast a validation is, beside reladiff and beside what it could be at best."""
