"""cache: `essence cache`: soft-label stores, looked at, checked, mended, passed on."""
