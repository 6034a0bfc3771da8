"""Graders: programs that say how good an answer is. Training rewards with them, evaluations count with them."""
