"""Files of pictures and arrays: reading, writing, grids, masks."""
