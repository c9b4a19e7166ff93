"""The HTTP toolkit: routing, sessions, problem documents, limits, languages, layout. Knows no feature."""
