"""The loops of the controller manager, one file each."""
