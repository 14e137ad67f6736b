"""Audio as a corpus: tables, Kaldi directories, Lhotse manifests, datasets; splits and features."""
