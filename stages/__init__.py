"""Middle floor: the six stages, and the speech room that all of them share."""
