"""Stages that ask models of the package transformers, loaded from folders on this machine; nothing is downloaded."""
