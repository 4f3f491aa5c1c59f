package load

import (
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/value"
)

// Schema describes the whole language as JSON, for editors and other
// programs. The same types give the same bytes.
func Schema(types language.Types) []byte { return language.Schema(types, value.Functions()) }

// Reference is the language reference in Markdown, made from the same table
// as the decoder.
func Reference(types language.Types) []byte { return language.Reference(types, value.Functions()) }
