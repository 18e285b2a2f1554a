"""The course's toolbox: wings along the way that the data go. ../utils.py is its contents."""
