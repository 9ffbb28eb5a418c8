"""Images that some other system made, measured against their targets, file by file."""
