"""FITS headers for another pixel grid."""

from glassplate.pipeline.export.fits.cards import history_lines
from glassplate.pipeline.export.fits.wcs import header_changes


def scaled_header(header, scale):
    """A copy of `header` with the changes for pixels `scale` times finer."""
    changes, scaled = header_changes(header, scale), header.copy()
    for key in {key for key in header if key.partition(".")[0] in changes.dropped}:
        scaled.remove(key, remove_all=True)
    for key, value in (changes.values | changes.added).items():
        scaled[key] = value
    for line in history_lines(changes.history):
        scaled.add_history(line)
    return scaled
