package load

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// problem is one kind of mistake: a code that never changes its meaning and
// the summary that always goes with it. Codes from HF-CFG-100 on belong to
// config.Check.
type problem struct{ code, summary string }

var (
	noFiles          = problem{"HF-CFG-001", "No configuration files"}
	badFile          = problem{"HF-CFG-002", "File cannot be used"}
	badSyntax        = problem{"HF-CFG-003", "Invalid syntax"}
	unknownBlock     = problem{"HF-CFG-004", "Unknown block"}
	reservedWord     = problem{"HF-CFG-005", "Reserved for a later version"}
	unknownArgument  = problem{"HF-CFG-006", "Unknown argument"}
	missingArgument  = problem{"HF-CFG-007", "Missing argument"}
	wrongLabels      = problem{"HF-CFG-008", "Wrong block labels"}
	invalidName      = problem{"HF-CFG-009", "Invalid name"}
	declaredTwice    = problem{"HF-CFG-010", "Declared twice"}
	blockExpected    = problem{"HF-CFG-011", "A block is expected"}
	argumentExpected = problem{"HF-CFG-012", "An argument is expected"}
	unknownType      = problem{"HF-CFG-013", "Unknown type"}
	wrongValueType   = problem{"HF-CFG-014", "Wrong type of value"}
	invalidValue     = problem{"HF-CFG-015", "Invalid value"}
	notAllowed       = problem{"HF-CFG-016", "Value not allowed"}
	outOfRange       = problem{"HF-CFG-017", "Value out of range"}
	invalidExpr      = problem{"HF-CFG-018", "Invalid expression"}
	unknownName      = problem{"HF-CFG-019", "Unknown name"}
	notAValue        = problem{"HF-CFG-020", "Not a value"}
	sensitiveValue   = problem{"HF-CFG-021", "Sensitive value in the configuration"}
	quotedReference  = problem{"HF-CFG-022", "Reference in quotes"}
	notAReference    = problem{"HF-CFG-023", "Not a reference"}
	wrongKind        = problem{"HF-CFG-024", "Reference to the wrong kind of object"}
	undeclared       = problem{"HF-CFG-025", "Reference to something not declared"}
	credential       = problem{"HF-CFG-026", "Credential in the configuration"}
	misplacedSecret  = problem{"HF-CFG-027", "Secret where none belongs"}
	badEndpoint      = problem{"HF-CFG-028", "Not an endpoint"}
	noMirror         = problem{"HF-CFG-029", "No mirror between these endpoints"}
	badVariable      = problem{"HF-CFG-030", "Invalid variable"}
	noVariableValue  = problem{"HF-CFG-031", "Variable without a value"}
	unknownVariable  = problem{"HF-CFG-032", "Value for an undeclared variable"}
	validationFailed = problem{"HF-CFG-033", "Variable value refused"}
	localCycle       = problem{"HF-CFG-034", "Locals refer to each other in a circle"}
	badForEach       = problem{"HF-CFG-035", "Invalid for_each"}
	wrongVersion     = problem{"HF-CFG-036", "Configuration needs another version of holdfast"}
	badSettings      = problem{"HF-CFG-037", "Settings do not fit together"}
	tooMany          = problem{"HF-CFG-038", "Too many objects"}
	listedTwice      = problem{"HF-CFG-039", "Listed twice"}
	brokenType       = problem{"HF-CFG-040", "Error in holdfast"}
)

// report collects the problems of one object or one phase.
type report struct {
	list       diag.List
	address    string
	incomplete bool // something was left out, whether or not this report says why
	hidden     []hcl.Range
}

// hide keeps the text of a credential out of the sources that snippets are made of.
func (r *report) hide(rng hcl.Range) { r.hidden = append(r.hidden, rng) }

func (r *report) add(p problem, rng hcl.Range, detail string, args ...any) {
	r.addAt(p, place(rng), detail, args...)
}

func (r *report) addAt(p problem, rng diag.Range, detail string, args ...any) {
	r.incomplete = true
	r.list = append(r.list, diag.Diagnostic{
		Severity: diag.Error, Code: p.code, Summary: p.summary, Detail: fmt.Sprintf(detail, args...),
		Address: r.address, Range: rng,
	})
}

// place converts a range.
func place(r hcl.Range) diag.Range {
	return diag.Range{
		Filename: r.Filename,
		Start:    diag.Pos{Line: r.Start.Line, Column: r.Start.Column, Byte: r.Start.Byte},
		End:      diag.Pos{Line: r.End.Line, Column: r.End.Column, Byte: r.End.Byte},
	}
}
