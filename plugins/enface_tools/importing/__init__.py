"""Translates options of pix2pix, BasicSR and joliGEN into recipes."""
