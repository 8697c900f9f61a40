"""One file for each revision; once released, a file does not change."""
