"""The schema's way from source to target: roles, an archive restored in sections, the proof that both are equal."""
