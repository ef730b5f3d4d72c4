"""Reading image files that are decoded as a whole: PNG, JPEG, JPEG 2000, WebP and JPEG XL."""
