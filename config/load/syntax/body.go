package syntax

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/holdfast-dr/holdfast/config/load/problem"
)

// Argument is one argument as written.
type Argument struct {
	Name      string
	NameRange hcl.Range
	Expr      hcl.Expression
}

// Block is one block as written; its body is not taken apart yet.
type Block struct {
	Kind        string
	KindRange   hcl.Range
	Labels      []string
	LabelRanges []hcl.Range
	Body        hcl.Body
}

// Header is the place of a block's kind and labels.
func (b *Block) Header() hcl.Range {
	if n := len(b.LabelRanges); n > 0 && b.LabelRanges[n-1].Filename == b.KindRange.Filename && b.LabelRanges[n-1].Start.Byte > b.KindRange.Start.Byte {
		return hcl.RangeBetween(b.KindRange, b.LabelRanges[n-1])
	}
	return b.KindRange
}

// Body is the content of a block in either syntax.
type Body struct {
	Args   []Argument // in the order written
	Blocks []Block
	Extra  []Argument // JSON only: properties the schema does not have; they may be meant as either
	JSON   bool
}

// Arg finds an argument by name, or nil.
func (b *Body) Arg(name string) *Argument {
	for i := range b.Args {
		if b.Args[i].Name == name {
			return &b.Args[i]
		}
	}
	return nil
}

// Expected is what a body may contain. Native syntax tells arguments from
// blocks by itself; JSON has to be told.
type Expected struct {
	Args   []string
	Blocks []ExpectedBlock
}

// ExpectedBlock is one kind of block that a body may contain.
type ExpectedBlock struct {
	Name   string
	Labels []string
}

// Sources is the text of every file read, by name.
type Sources map[string][]byte

// Text is what stands at a place, or nothing when there is no such place.
func (s Sources) Text(rng hcl.Range) string {
	src := s[rng.Filename]
	if rng.Start.Byte < 0 || rng.End.Byte > len(src) || rng.Start.Byte > rng.End.Byte {
		return ""
	}
	return string(src[rng.Start.Byte:rng.End.Byte])
}

// Read takes a body apart. want is asked only for JSON.
func (s Sources) Read(b hcl.Body, want func() Expected, rep *problem.Report) Body {
	if native, ok := b.(*hclsyntax.Body); ok {
		return readNative(native)
	}
	e := want()
	schema := &hcl.BodySchema{}
	for _, name := range e.Args {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
	}
	for _, eb := range e.Blocks {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: eb.Name, LabelNames: eb.Labels})
	}
	content, diags := b.Content(schema)
	out := Body{JSON: true, Args: argumentsOf(content.Attributes)}
	for _, hb := range content.Blocks {
		out.Blocks = append(out.Blocks, Block{Kind: hb.Type, KindRange: hb.TypeRange, Labels: hb.Labels, LabelRanges: hb.LabelRanges, Body: hb.Body})
	}
	for _, d := range diags {
		if d.Summary == "Extraneous JSON object property" && d.Subject != nil {
			out.Extra = append(out.Extra, Argument{Name: s.property(*d.Subject), NameRange: *d.Subject})
			continue
		}
		rep.AddSyntax(d, b.MissingItemRange())
	}
	return out
}

// property reads a JSON property's name back from the source.
func (s Sources) property(rng hcl.Range) string {
	text := s.Text(rng)
	if name, err := strconv.Unquote(text); err == nil {
		return name
	}
	return text
}

func readNative(b *hclsyntax.Body) Body {
	out := Body{Args: make([]Argument, 0, len(b.Attributes)), Blocks: make([]Block, 0, len(b.Blocks))}
	for name, a := range b.Attributes {
		out.Args = append(out.Args, Argument{name, a.NameRange, a.Expr})
	}
	sortArguments(out.Args)
	for _, nb := range b.Blocks {
		out.Blocks = append(out.Blocks, Block{Kind: nb.Type, KindRange: nb.TypeRange, Labels: nb.Labels, LabelRanges: nb.LabelRanges, Body: nb.Body})
	}
	return out
}

// Arguments reads a body that has arguments only, with names of the writer's choice.
func Arguments(b hcl.Body, header hcl.Range, rep *problem.Report) []Argument {
	attrs, diags := b.JustAttributes()
	for _, d := range diags {
		rep.AddSyntax(d, header)
	}
	return argumentsOf(attrs)
}

func argumentsOf(m hcl.Attributes) []Argument {
	out := make([]Argument, 0, len(m))
	for name, a := range m {
		out = append(out, Argument{name, a.NameRange, a.Expr})
	}
	sortArguments(out)
	return out
}

func sortArguments(attrs []Argument) {
	slices.SortFunc(attrs, func(a, b Argument) int { return cmp.Compare(a.NameRange.Start.Byte, b.NameRange.Start.Byte) })
}
