"""What comes with an image: further exposures, a watermark, colour hints, a point-spread function."""
