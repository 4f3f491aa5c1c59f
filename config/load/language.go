package load

// Schema describes the whole language as JSON, for editors and other
// programs. The same types give the same bytes.
func Schema(types Types) []byte { return schemaText(types, describeFunctions()) }

// Reference is the language reference in Markdown, made from the same table
// as the decoder.
func Reference(types Types) []byte { return reference(types, describeFunctions()) }
