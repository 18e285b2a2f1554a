"""The exercises of the notebooks, a module each notebook; how an answer is graded, in grading."""
