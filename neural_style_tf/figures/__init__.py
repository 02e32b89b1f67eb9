"""The figures of Gatys et al. 2015 and of those who explained it: what is painted, drawn, said."""
