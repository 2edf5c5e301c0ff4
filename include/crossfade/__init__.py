"""Crossfade moves a live PostgreSQL database to another PostgreSQL while its application keeps writing."""

__version__ = "0.1.0"
