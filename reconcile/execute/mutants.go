package execute

// Seeded protocol bugs. The crash tests must catch each of them; see TestMutantsAreCaught.
const (
	mutantLateIntent    = "late_intent"    // the effect comes before its intent is durable
	mutantRerunHalt     = "rerun_halt"     // a halt step runs again on recovery
	mutantNoVerify      = "no_verify"      // what was written is not read back
	mutantEarlyRecord   = "early_record"   // the artifact is recorded before it is committed
	mutantNoFence       = "no_fence"       // work goes on after another process took over
	mutantSplitRole     = "split_role"     // role and object are recorded in two transactions
	mutantLateDuty      = "late_duty"      // the duty is written after the effect that makes it necessary
	mutantBlindPrune    = "blind_prune"    // the mirror goes on after a copy with errors
	mutantFreshID       = "fresh_id"       // a repeated capture takes a new artifact ID
	mutantLostDuty      = "lost_duty"      // duties are not paid on the way out
	mutantBlindDelete   = "blind_delete"   // files are deleted before it is recorded that their deletion begins
	mutantBlindCheck    = "blind_check"    // an artifact is recorded as verified without being read
	mutantEarlySweep    = "early_sweep"    // what tells a resume that a directory was restored goes before the outcome is recorded
	mutantEarlyForget   = "early_forget"   // a device forgets a restore before the outcome is recorded
	mutantBlindRollback = "blind_rollback" // a failed switchover goes back without looking at the targets
)
