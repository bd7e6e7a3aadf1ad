"""The oldest releases of our dependencies that pyproject.toml allows, and what has to work with them."""
