"""What unlearning algorithms share: the task, the protocol, cost, search, repair and the training loop."""
