"""Answer people's questions: status, explain, plan, report, metrics, history, audit, doctor."""
