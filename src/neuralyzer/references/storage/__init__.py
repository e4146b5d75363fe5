"""What a pool keeps on the disk: its index of rows, its measurements, its access log, and what erasure leaves."""
