"""derived: stores made of sealed stores: merged, or cut out, without coding anything anew."""
