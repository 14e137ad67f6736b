"""Places: the tables and data files that a column of the systems may be in."""

# Data files.
GROUPS = "groups"  # groups.csv, groups.json: a row for each group of seeds
RESULTS = "results"  # results.csv, results.json: a row for each seed
# Tables.
SYSTEMS = "systems"  # the first table of the page
FRAMES = "frames"  # "Frames and costs" on the page
SEEDS = "seeds"  # "Each system and seed" on the page: a row for each seed
TERMINAL = "terminal"
