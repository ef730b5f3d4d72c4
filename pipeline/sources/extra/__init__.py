"""Formats whose readers are found by their entry points: ASDF and XISF."""
