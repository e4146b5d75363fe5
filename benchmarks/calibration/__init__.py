"""How often the trace is wrong: false alarms, power, intervals, forgetting; on models really trained for it."""
