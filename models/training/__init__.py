"""Training WeGen: losses, stages, and the bundled nano model from nothing but the repository."""
