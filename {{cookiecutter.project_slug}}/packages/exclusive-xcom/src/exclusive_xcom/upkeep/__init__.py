"""What goes when, and what there is: a wing of its own, which no push and no pull imports."""
