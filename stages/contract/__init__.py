"""What all stages share: settings, results, progress, errors."""
