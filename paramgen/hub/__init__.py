"""The Hugging Face Hub: downloads that are tried again, uploads in one commit, and trained models from there."""
