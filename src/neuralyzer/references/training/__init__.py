"""Training reference models: side by side, in processes, on a cluster; and the check before all are trained."""
