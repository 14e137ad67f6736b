"""Speech room: what every stage may share: models, training, lang, decoding graph, results."""
