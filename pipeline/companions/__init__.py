"""Files that go with an image: mask, noise image, guide, exposures, hints, overlay, PSF."""
