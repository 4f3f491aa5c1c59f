package load

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/holdfast-dr/holdfast/config/load/problem"
)

// attr is one argument as written.
type attr struct {
	name      string
	nameRange hcl.Range
	expr      hcl.Expression
}

// block is one block as written.
type block struct {
	kind        string
	kindRange   hcl.Range
	labels      []string
	labelRanges []hcl.Range
	body        hcl.Body
}

// header is the place of a block's kind and labels.
func (b *block) header() hcl.Range {
	if n := len(b.labelRanges); n > 0 && b.labelRanges[n-1].Filename == b.kindRange.Filename && b.labelRanges[n-1].Start.Byte > b.kindRange.Start.Byte {
		return hcl.RangeBetween(b.kindRange, b.labelRanges[n-1])
	}
	return b.kindRange
}

// body is the content of a block in either syntax.
type body struct {
	attrs  []attr // in the order written
	blocks []block
	extra  []attr // JSON only: properties the schema does not have; they may be meant as either
	isJSON bool
}

func (b *body) attr(name string) *attr {
	for i := range b.attrs {
		if b.attrs[i].name == name {
			return &b.attrs[i]
		}
	}
	return nil
}

// expected is what a body may contain. Native syntax tells arguments from
// blocks by itself; JSON has to be told.
type expected struct {
	args   []string
	blocks []expectedBlock
}

type expectedBlock struct {
	name   string
	labels []string
}

// sources is the text of every file read, by name.
type sources map[string][]byte

// text is what stands at a place, or nothing.
func (s sources) text(rng hcl.Range) string {
	src := s[rng.Filename]
	if rng.Start.Byte < 0 || rng.End.Byte > len(src) || rng.Start.Byte > rng.End.Byte {
		return ""
	}
	return string(src[rng.Start.Byte:rng.End.Byte])
}

// read takes a body apart. want is asked only for JSON.
func (s sources) read(b hcl.Body, want func() expected, rep *problem.Report) body {
	if native, ok := b.(*hclsyntax.Body); ok {
		return readNative(native)
	}
	e := want()
	schema := &hcl.BodySchema{}
	for _, name := range e.args {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
	}
	for _, eb := range e.blocks {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: eb.name, LabelNames: eb.labels})
	}
	content, diags := b.Content(schema)
	out := body{isJSON: true, attrs: attrsOf(content.Attributes)}
	for _, hb := range content.Blocks {
		out.blocks = append(out.blocks, block{kind: hb.Type, kindRange: hb.TypeRange, labels: hb.Labels, labelRanges: hb.LabelRanges, body: hb.Body})
	}
	for _, d := range diags {
		if d.Summary == "Extraneous JSON object property" && d.Subject != nil {
			out.extra = append(out.extra, attr{name: s.property(*d.Subject), nameRange: *d.Subject})
			continue
		}
		rep.AddSyntax(d, b.MissingItemRange())
	}
	return out
}

// property reads a JSON property's name back from the source.
func (s sources) property(rng hcl.Range) string {
	text := s.text(rng)
	if name, err := strconv.Unquote(text); err == nil {
		return name
	}
	return text
}

func readNative(b *hclsyntax.Body) body {
	out := body{attrs: make([]attr, 0, len(b.Attributes)), blocks: make([]block, 0, len(b.Blocks))}
	for name, a := range b.Attributes {
		out.attrs = append(out.attrs, attr{name, a.NameRange, a.Expr})
	}
	sortAttrs(out.attrs)
	for _, nb := range b.Blocks {
		out.blocks = append(out.blocks, block{kind: nb.Type, kindRange: nb.TypeRange, labels: nb.Labels, labelRanges: nb.LabelRanges, body: nb.Body})
	}
	return out
}

// attributes reads a body that has arguments only, with names of the writer's choice.
func attributes(b hcl.Body, header hcl.Range, rep *problem.Report) []attr {
	attrs, diags := b.JustAttributes()
	for _, d := range diags {
		rep.AddSyntax(d, header)
	}
	return attrsOf(attrs)
}

func attrsOf(m hcl.Attributes) []attr {
	out := make([]attr, 0, len(m))
	for name, a := range m {
		out = append(out, attr{name, a.NameRange, a.Expr})
	}
	sortAttrs(out)
	return out
}

func sortAttrs(attrs []attr) {
	slices.SortFunc(attrs, func(a, b attr) int { return cmp.Compare(a.nameRange.Start.Byte, b.nameRange.Start.Byte) })
}
