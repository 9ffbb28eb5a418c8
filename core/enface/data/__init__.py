"""Images, packs, splits, pairs, batches, and augmentation."""
