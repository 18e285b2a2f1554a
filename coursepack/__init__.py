"""The course's toolbox, a room for each step that the data goes. ../utils.py is its contents."""
