"""figures: the pictures of the page."""
