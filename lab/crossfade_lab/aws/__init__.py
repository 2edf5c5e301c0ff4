"""A local AWS: moto's server over real HTTP, whose DMS really moves rows between PostgreSQL servers."""
