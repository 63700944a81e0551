"""A folder of the user's images."""
