// Package problem collects what is wrong with configuration files, each
// mistake under a code of its own.
package problem

// Mistake is one kind of mistake: a code that never changes its meaning and
// the summary that always goes with it. Codes from HF-CFG-100 on belong to
// config.Check.
type Mistake struct{ Code, Summary string }

// The mistakes that are found while files are read and decoded.
var (
	NoFiles          = Mistake{"HF-CFG-001", "No configuration files"}
	BadFile          = Mistake{"HF-CFG-002", "File cannot be used"}
	BadSyntax        = Mistake{"HF-CFG-003", "Invalid syntax"}
	UnknownBlock     = Mistake{"HF-CFG-004", "Unknown block"}
	ReservedWord     = Mistake{"HF-CFG-005", "Reserved for a later version"}
	UnknownArgument  = Mistake{"HF-CFG-006", "Unknown argument"}
	MissingArgument  = Mistake{"HF-CFG-007", "Missing argument"}
	WrongLabels      = Mistake{"HF-CFG-008", "Wrong block labels"}
	InvalidName      = Mistake{"HF-CFG-009", "Invalid name"}
	DeclaredTwice    = Mistake{"HF-CFG-010", "Declared twice"}
	BlockExpected    = Mistake{"HF-CFG-011", "A block is expected"}
	ArgumentExpected = Mistake{"HF-CFG-012", "An argument is expected"}
	UnknownType      = Mistake{"HF-CFG-013", "Unknown type"}
	WrongValueType   = Mistake{"HF-CFG-014", "Wrong type of value"}
	InvalidValue     = Mistake{"HF-CFG-015", "Invalid value"}
	NotAllowed       = Mistake{"HF-CFG-016", "Value not allowed"}
	OutOfRange       = Mistake{"HF-CFG-017", "Value out of range"}
	InvalidExpr      = Mistake{"HF-CFG-018", "Invalid expression"}
	UnknownName      = Mistake{"HF-CFG-019", "Unknown name"}
	NotAValue        = Mistake{"HF-CFG-020", "Not a value"}
	SensitiveValue   = Mistake{"HF-CFG-021", "Sensitive value in the configuration"}
	QuotedReference  = Mistake{"HF-CFG-022", "Reference in quotes"}
	NotAReference    = Mistake{"HF-CFG-023", "Not a reference"}
	WrongKind        = Mistake{"HF-CFG-024", "Reference to the wrong kind of object"}
	Undeclared       = Mistake{"HF-CFG-025", "Reference to something not declared"}
	Credential       = Mistake{"HF-CFG-026", "Credential in the configuration"}
	MisplacedSecret  = Mistake{"HF-CFG-027", "Secret where none belongs"}
	BadEndpoint      = Mistake{"HF-CFG-028", "Not an endpoint"}
	NoMirror         = Mistake{"HF-CFG-029", "No mirror between these endpoints"}
	BadVariable      = Mistake{"HF-CFG-030", "Invalid variable"}
	NoVariableValue  = Mistake{"HF-CFG-031", "Variable without a value"}
	UnknownVariable  = Mistake{"HF-CFG-032", "Value for an undeclared variable"}
	ValidationFailed = Mistake{"HF-CFG-033", "Variable value refused"}
	LocalCycle       = Mistake{"HF-CFG-034", "Locals refer to each other in a circle"}
	BadForEach       = Mistake{"HF-CFG-035", "Invalid for_each"}
	WrongVersion     = Mistake{"HF-CFG-036", "Configuration needs another version of holdfast"}
	BadSettings      = Mistake{"HF-CFG-037", "Settings do not fit together"}
	TooMany          = Mistake{"HF-CFG-038", "Too many objects"}
	ListedTwice      = Mistake{"HF-CFG-039", "Listed twice"}
	IdlePattern      = Mistake{"HF-CFG-041", "Pattern that can match nothing"}
	Defect           = Mistake{"HF-CFG-040", "Error in holdfast"}
)
