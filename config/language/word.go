package language

import "github.com/holdfast-dr/holdfast/config"

// Endings of the names of files.
const (
	NativeEnding = ".hold.hcl"
	JSONEnding   = ".hold.json"
	VarsEnding   = ".holdvars.hcl" // values of variables
)

// Reserved says why a word is kept free, if it is.
func Reserved(word string) (why string, ok bool) {
	why, ok = reservedWords[word]
	return why, ok
}

// Foreign gives the name of what is known by another word elsewhere.
func Foreign(word string) (here string, ok bool) {
	here, ok = foreignBlocks[word]
	return here, ok
}

// reservedWords are kept free for what the design has and this version has
// not, as blocks and as arguments.
var reservedWords = map[string]string{
	"check":         "Rules over the whole configuration are not in this version.",
	"contact":       "Contacts and escalation are not in this version.",
	"count":         "There is no count; use for_each, which gives every instance a name that stays.",
	"depends_on":    "Dependencies between groups are not in this version.",
	"drill":         "Drills are not in this version.",
	"escalation":    "Contacts and escalation are not in this version.",
	"fence":         "Fencing is not in this version.",
	"import":        "Import is not in this version.",
	"max_data_loss": "Bounds on data loss are not in this version.",
	"module":        "There are no modules in this version; all files of one directory are one configuration.",
	"notification":  "Notifications are not in this version.",
	"objective":     "Objectives are not in this version.",
	"probe":         "Probes are not in this version.",
	"protect":       "Protection of single blocks is not in this version.",
	"service":       "Services are not in this version.",
	"trigger":       "Automatic triggers are not in this version.",
	"vantage":       "Vantage points are not in this version.",
	"waive":         "Waivers are not in this version.",
}

// foreignBlocks are words from elsewhere for what has another name here.
var foreignBlocks = map[string]string{
	"backup": config.KindBackupPlan, "plan": config.KindBackupPlan, "job": config.KindBackupPlan, "policy": config.KindBackupPlan,
	"window": config.KindWindow, "client": config.KindDevice, "host": config.KindDevice, "repository": config.KindStore,
	"vault": config.KindStore, "target": config.KindFailoverTarget, "local": KindLocals, "var": KindVariable,
	"backend": KindState, "terraform": KindSettings, "holdfast": KindSettings, "replica": config.KindMirror,
}
