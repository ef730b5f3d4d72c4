"""One image: read, tile, restore, blend, write, record."""
