"""From tensors to a folder: `plan` fixes every offset, `writer` streams to disk, `folder` publishes all or nothing."""
