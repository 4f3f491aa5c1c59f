package dump_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/providers/postgresql/dump"
)

// list is of a dump with names that look like something else.
const list = `;
; Archive created at 2026-12-01 04:11:23 UTC
3453; 1262 16384 DATABASE - f postgres
7; 2615 16385 SCHEMA - TABLE 1; 1259 1 postgres
880; 1247 16387 TYPE odd mood postgres
;	depends on: 7
225; 1255 16411 FUNCTION public slug(text) postgres
218; 1259 16393 TABLE public par postgres
;	depends on: 880
219; 1259 16399 TABLE public INDEX DATA postgres
221; 1259 16412 VIEW public v postgres
;	depends on: 218 218 880
216; 1259 16391 SEQUENCE public par_id_seq postgres
;	depends on: 218
3458; 0 0 SEQUENCE OWNED BY public par_id_seq postgres
;	depends on: 216
3282; 2604 16396 DEFAULT public par id postgres
;	depends on: 218 216 218
3443; 0 16393 TABLE DATA public par postgres
;	depends on: 218
3444; 0 16399 TABLE DATA public INDEX DATA postgres
;	depends on: 219
3285; 2606 16398 CONSTRAINT public par par_pkey postgres
;	depends on: 218
3286; 1259 16420 INDEX public i postgres
;	depends on: 225 218
3291; 2606 16402 FK CONSTRAINT public INDEX DATA fk postgres
;	depends on: 218 3285 219
3440; 6106 16519 PUBLICATION TABLE public pub par postgres
;	depends on: 3439 218
`

func TestChoose(t *testing.T) {
	toc := dump.ReadTOC(list)
	for name, tt := range map[string]struct {
		oids      []uint32
		needs     bool
		want      string
		relations int
		missing   string
	}{
		"a table":                     {[]uint32{16393}, false, "218 216 3458 3282 3443 3285 3286", 1, "[]"},
		"with what it needs":          {[]uint32{16393}, true, "7 880 225 218 216 3458 3282 3443 3285 3286", 1, "[]"},
		"without what it refers to":   {[]uint32{16399}, true, "219 3444", 1, "[]"},
		"with what it refers to":      {[]uint32{16399, 16393}, false, "218 219 216 3458 3282 3443 3444 3285 3286 3291", 2, "[]"},
		"a view":                      {[]uint32{16412}, true, "7 880 221", 1, "[16393]"},
		"an index is no relation":     {[]uint32{16420}, false, "", 0, "[]"},
		"what is not there":           {[]uint32{1}, true, "", 0, "[]"},
		"a view and the table it has": {[]uint32{16412, 16393}, false, "218 221 216 3458 3282 3443 3285 3286", 2, "[]"},
	} {
		oids := map[uint32]bool{}
		for _, oid := range tt.oids {
			oids[oid] = true
		}
		s := toc.Choose(oids, tt.needs)
		got := strings.Join(strings.Fields(strings.ReplaceAll(string(s.List), ";", "")), " ")
		if got != tt.want || s.Relations != tt.relations || fmt.Sprint(s.Missing) != tt.missing || s.List == nil {
			t.Errorf("%s: got %q, %d, %v", name, got, s.Relations, s.Missing)
		}
	}
	if toc := dump.ReadTOC("; depends on: 1\n; nothing\n1; x\n"); len(toc) != 0 {
		t.Errorf("of no list: %v", toc)
	}
}

func TestFaults(t *testing.T) {
	text := "pg_restore: error: could not execute query: ERROR:  violates\nDETAIL:  Key.\nCommand was: ALTER TABLE ONLY t\n    ADD CONSTRAINT c (a);\n\nDETAIL: of the command\n" +
		"pg_restore: error: could not execute query: ERROR:  no wrapper\nCommand was: CREATE USER MAPPING FOR a SERVER b OPTIONS (\n    password 'c4n4ry'\n);\n\n\n" +
		"pg_restore: error: COPY failed for table \"t\": ERROR:  x\nCONTEXT:  COPY t, line 1\npg_restore: warning: errors ignored on restore: 7\n"
	all, count := dump.Faults(text)
	want := []string{"ALTER TABLE ONLY t ADD CONSTRAINT c: ERROR:  violates (Key.)", "CREATE USER MAPPING FOR a SERVER b OPTIONS: ERROR:  no wrapper", `COPY failed for table "t": ERROR:  x`}
	if !slices.Equal(all, want) || count != 7 {
		t.Errorf("got %q, %d", all, count)
	}
	for text, n := range map[string]int{"pg_restore: error: could not read from input file: end of file\n": 1, "": 0, "Command was: x\nDETAIL: y": 0} {
		if all, count := dump.Faults(text); len(all) != n || count != 0 {
			t.Errorf("of %q: got %q, %d", text, all, count)
		}
	}
}
