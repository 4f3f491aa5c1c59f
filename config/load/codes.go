package load

// mistake is one kind of mistake: a code that never changes its meaning and
// the summary that always goes with it. Codes from HF-CFG-100 on belong to
// config.Check.
type mistake struct{ code, summary string }

var (
	noFiles          = mistake{"HF-CFG-001", "No configuration files"}
	badFile          = mistake{"HF-CFG-002", "File cannot be used"}
	badSyntax        = mistake{"HF-CFG-003", "Invalid syntax"}
	unknownBlock     = mistake{"HF-CFG-004", "Unknown block"}
	reservedWord     = mistake{"HF-CFG-005", "Reserved for a later version"}
	unknownArgument  = mistake{"HF-CFG-006", "Unknown argument"}
	missingArgument  = mistake{"HF-CFG-007", "Missing argument"}
	wrongLabels      = mistake{"HF-CFG-008", "Wrong block labels"}
	invalidName      = mistake{"HF-CFG-009", "Invalid name"}
	declaredTwice    = mistake{"HF-CFG-010", "Declared twice"}
	blockExpected    = mistake{"HF-CFG-011", "A block is expected"}
	argumentExpected = mistake{"HF-CFG-012", "An argument is expected"}
	unknownType      = mistake{"HF-CFG-013", "Unknown type"}
	wrongValueType   = mistake{"HF-CFG-014", "Wrong type of value"}
	invalidValue     = mistake{"HF-CFG-015", "Invalid value"}
	notAllowed       = mistake{"HF-CFG-016", "Value not allowed"}
	outOfRange       = mistake{"HF-CFG-017", "Value out of range"}
	invalidExpr      = mistake{"HF-CFG-018", "Invalid expression"}
	unknownName      = mistake{"HF-CFG-019", "Unknown name"}
	notAValue        = mistake{"HF-CFG-020", "Not a value"}
	sensitiveValue   = mistake{"HF-CFG-021", "Sensitive value in the configuration"}
	quotedReference  = mistake{"HF-CFG-022", "Reference in quotes"}
	notAReference    = mistake{"HF-CFG-023", "Not a reference"}
	wrongKind        = mistake{"HF-CFG-024", "Reference to the wrong kind of object"}
	undeclared       = mistake{"HF-CFG-025", "Reference to something not declared"}
	credential       = mistake{"HF-CFG-026", "Credential in the configuration"}
	misplacedSecret  = mistake{"HF-CFG-027", "Secret where none belongs"}
	badEndpoint      = mistake{"HF-CFG-028", "Not an endpoint"}
	noMirror         = mistake{"HF-CFG-029", "No mirror between these endpoints"}
	badVariable      = mistake{"HF-CFG-030", "Invalid variable"}
	noVariableValue  = mistake{"HF-CFG-031", "Variable without a value"}
	unknownVariable  = mistake{"HF-CFG-032", "Value for an undeclared variable"}
	validationFailed = mistake{"HF-CFG-033", "Variable value refused"}
	localCycle       = mistake{"HF-CFG-034", "Locals refer to each other in a circle"}
	badForEach       = mistake{"HF-CFG-035", "Invalid for_each"}
	wrongVersion     = mistake{"HF-CFG-036", "Configuration needs another version of holdfast"}
	badSettings      = mistake{"HF-CFG-037", "Settings do not fit together"}
	tooMany          = mistake{"HF-CFG-038", "Too many objects"}
	listedTwice      = mistake{"HF-CFG-039", "Listed twice"}
	brokenType       = mistake{"HF-CFG-040", "Error in holdfast"}
)
