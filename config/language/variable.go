package language

// Variable is the body of a variable block.
type Variable struct {
	Description string        `hcl:"description,optional" json:"description" doc:"For people."`
	Type        Expression    `hcl:"type,optional" json:"type" doc:"string, number, bool, list(string), map(string), object({...}) and so on; the default's own type when absent."`
	Default     Expression    `hcl:"default,optional" json:"default" doc:"The value when none is given. Without it a value must be given."`
	Sensitive   bool          `hcl:"sensitive,optional" json:"sensitive" doc:"true: the value is never shown, and may not end in an argument; credentials belong in secret blocks."`
	Validations []*Validation `hcl:"validation,blocks" json:"validation" doc:"A rule that every value must pass."`
}

// Validation is one rule for a variable's value.
type Validation struct {
	Condition    Expression `hcl:"condition" json:"condition" doc:"An expression over the variables that is true for a good value."`
	ErrorMessage Expression `hcl:"error_message" json:"error_message" doc:"What is wrong with a bad value and what to give instead, in a full sentence."`
}
