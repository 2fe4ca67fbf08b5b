"""A folder that Hugging Face Inference Endpoints serves: its handler, and how it is written and created."""
