package reconcile

// Reason codes of backup plans that do not start. IBM DPOD's names.
const (
	BackupsDisabled = "BACKUPS_ARE_DISABLED"
	OutsideWindow   = "PRE_VALIDATION_OUT_OF_MAINTENANCE_WINDOW"
)

// Reason codes of tasks that are never started. IBM DPOD's names where it has them.
const (
	SkippedNoDevices   = "SKIPPED_NO_DEVICES_MATCHING_PATTERN"
	SkippedNoDomains   = "SKIPPED_NO_DOMAINS_MATCHING_PATTERN"
	SkippedUnavailable = "SKIPPED_DEVICE_NOT_AVAILABLE"
	SkippedExcluded    = "SKIPPED_DEVICE_EXCLUDED"
	SkippedUninspected = "SKIPPED_DEVICE_NOT_INSPECTED" // only with a recorded inventory: what it holds is not known
	SkippedNoTasks     = "SKIPPED_ALL_TASKS_SKIPPED"    // scripts of a backup plan that has nothing to do
)
