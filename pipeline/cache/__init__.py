"""The commands of `essence cache`: inspect, check, repair, copy, merge and split stores."""
