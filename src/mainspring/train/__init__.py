"""Training: data in, a model version out. Nothing else imports torch, and the server never does: a job is a process."""
