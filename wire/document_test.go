package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/frames.json anew from the document")

const (
	documentPath = "../docs/protocol.md"
	vectorsPath  = "testdata/frames.json"
)

// section is a part of the document that describes one frame.
type section struct {
	name     string
	typ      Type
	from     string // "clients" or "gateways"
	fields   []row
	examples []example
}

// row is a field of a byte table.
type row struct{ name, typ string }

// example is a frame in the document, as values and as bytes.
type example struct {
	values map[string]any
	msg    []byte
}

var (
	frameHead = regexp.MustCompile(`^### (.+) 0x([0-9a-f]{2})$`)
	fieldRow  = regexp.MustCompile("^\\| ([a-z_]+) \\| `([a-z0-9A-Z]+)` \\|")
	codeRow   = regexp.MustCompile(`^\| (\d+) \| ([a-z_]+) \| (.+) \|$`)
)

func readDocument(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(documentPath)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(b), "\n")
}

// sections reads the frames out of the document, and the fields of attach.
func sections(t *testing.T) (frames []section, attach []row) {
	t.Helper()
	from, lines := "", readDocument(t)
	var in *section
	inAttach := false
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "## "):
			from, in, inAttach = strings.TrimPrefix(line, "## Frames from "), nil, false
		case line == "### attach":
			in, inAttach = nil, true
		case frameHead.MatchString(line):
			m := frameHead.FindStringSubmatch(line)
			typ, _ := strconv.ParseUint(m[2], 16, 8)
			frames = append(frames, section{name: m[1], typ: Type(typ), from: from})
			in = &frames[len(frames)-1]
		case inAttach && fieldRow.MatchString(line):
			m := fieldRow.FindStringSubmatch(line)
			attach = append(attach, row{m[1], m[2]})
		case in != nil && fieldRow.MatchString(line):
			m := fieldRow.FindStringSubmatch(line)
			in.fields = append(in.fields, row{m[1], m[2]})
		case in != nil && line == "```frame":
			in.examples = append(in.examples, readExample(t, lines[i+1:]))
		}
	}
	return frames, attach
}

func readExample(t *testing.T, lines []string) example {
	t.Helper()
	var e example
	d := json.NewDecoder(strings.NewReader(lines[0]))
	d.UseNumber()
	if err := d.Decode(&e.values); err != nil {
		t.Fatalf("example %s: %v", lines[0], err)
	}
	for name, v := range e.values {
		switch v := v.(type) {
		case json.Number:
			n, err := strconv.ParseUint(v.String(), 10, 64)
			if err != nil {
				t.Fatalf("example %s: %v", lines[0], err)
			}
			e.values[name] = n
		case bool:
			e.values[name] = plain(reflect.ValueOf(v))
		}
	}
	end := slices.Index(lines, "```")
	msg, err := hex.DecodeString(strings.ReplaceAll(strings.Join(lines[1:end], ""), " ", ""))
	if err != nil {
		t.Fatalf("example %s: %v", lines[0], err)
	}
	e.msg = msg
	return e
}

// examplesOf are the document's examples of a frame.
func examplesOf(t *testing.T, k frameKind) []example {
	t.Helper()
	frames, _ := sections(t)
	for _, s := range frames {
		if s.name == k.name {
			return s.examples
		}
	}
	t.Fatalf("%s: not in the document", k.name)
	return nil
}

func TestDocumentDescribesEveryFrame(t *testing.T) {
	frames, _ := sections(t)
	have := map[string]section{}
	for _, s := range frames {
		have[s.name] = s
	}
	if len(have) != len(frames) || len(frames) != len(allFrames()) {
		t.Errorf("%d frames in the document under %d names, want %d", len(frames), len(have), len(allFrames()))
	}
	for from, kinds := range map[string][]frameKind{"clients": clientFrames, "gateways": gatewayFrames} {
		for _, k := range kinds {
			s, ok := have[k.name]
			switch {
			case !ok:
				t.Errorf("%s: not in the document", k.name)
			case s.typ != k.typ || s.from != from:
				t.Errorf("%s: type %#x from %s in the document, want %#x from %s", k.name, s.typ, s.from, k.typ, from)
			case len(s.examples) == 0:
				t.Errorf("%s: no example", k.name)
			}
		}
	}
}

func TestDocumentExamplesMatchTheCode(t *testing.T) {
	frames, _ := sections(t)
	for _, s := range frames {
		i := slices.IndexFunc(allFrames(), func(k frameKind) bool { return k.name == s.name })
		if i < 0 {
			continue // told by another test
		}
		k := allFrames()[i]
		for _, e := range s.examples {
			frame, err := fromFields(k.sample, e.values)
			if err != nil {
				t.Errorf("%s: %v: %v", s.name, e.values, err)
				continue
			}
			if got := k.encode(frame); !bytes.Equal(got, e.msg) {
				t.Errorf("%s: %v encodes to\n% x, the document has\n% x", s.name, e.values, got, e.msg)
			}
			decoded, err := k.decode(e.msg)
			if err != nil {
				t.Errorf("%s: decode % x: %v", s.name, e.msg, err)
				continue
			}
			if got := toFields(decoded); !maps.Equal(got, e.values) {
				t.Errorf("%s: % x decodes to\n%v, the document has\n%v", s.name, e.msg, got, e.values)
			}
		}
	}
}

// The byte tables are read as a program would: what they make of the examples
// must be the examples' values.
func TestDocumentTablesMatchTheExamples(t *testing.T) {
	frames, attach := sections(t)
	for _, s := range frames {
		var rows []row
		for _, r := range s.fields {
			if r.typ == "attach" {
				rows = append(rows, attach...)
			} else {
				rows = append(rows, r)
			}
		}
		for _, e := range s.examples {
			got, err := readByTable(rows, e.msg[1:])
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
			} else if !maps.Equal(got, e.values) {
				t.Errorf("%s: the table reads\n%v, the example says\n%v", s.name, got, e.values)
			}
			if Type(e.msg[0]) != s.typ {
				t.Errorf("%s: example of type %#x, want %#x", s.name, e.msg[0], s.typ)
			}
		}
	}
}

func readByTable(rows []row, b []byte) (map[string]any, error) {
	fields := map[string]any{}
	number := func(n int) (v uint64) {
		for _, c := range b[:min(n, len(b))] {
			v = v<<8 | uint64(c)
		}
		b = b[min(n, len(b)):]
		return v
	}
	take := func(n uint64) []byte {
		p := b[:min(n, uint64(len(b)))]
		b = b[len(p):]
		return p
	}
	for _, r := range rows {
		switch r.typ {
		case "u8", "u16", "u32", "u64":
			bits, _ := strconv.Atoi(r.typ[1:])
			fields[r.name] = number(bits / 8)
		case "16B":
			fields[r.name] = hex.EncodeToString(take(16))
		case "str8":
			fields[r.name] = string(take(number(1)))
		case "str16":
			fields[r.name] = string(take(number(2)))
		case "bytes16":
			fields[r.name] = hex.EncodeToString(take(number(2)))
		case "rest":
			fields[r.name] = hex.EncodeToString(take(uint64(len(b))))
		default:
			return nil, fmt.Errorf("field %s: no type %q in the notation", r.name, r.typ)
		}
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%d bytes behind the last field", len(b))
	}
	return fields, nil
}

func TestDocumentListsEveryCode(t *testing.T) {
	listed := map[Code]string{CodeNone: "none"}
	ranges := regexp.MustCompile(`^\*\*(\d+) to (\d+): `)
	var low, high uint64
	for _, line := range readDocument(t) {
		if m := ranges.FindStringSubmatch(line); m != nil {
			low, _ = strconv.ParseUint(m[1], 10, 16)
			high, _ = strconv.ParseUint(m[2], 10, 16)
		}
		m := codeRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n, _ := strconv.ParseUint(m[1], 10, 16)
		if n < low || n > high {
			t.Errorf("code %d stands under %d to %d", n, low, high)
		}
		listed[Code(n)] = m[2]
	}
	for c, name := range codeNames {
		if listed[c] != name {
			t.Errorf("code %d is %q in the document, %q in the code", c, listed[c], name)
		}
	}
	for c, name := range listed {
		if codeNames[c] != name {
			t.Errorf("code %d (%s) is not in the code", c, name)
		}
		if c >= 4000 && c.Retry() != (c < 4500) {
			t.Errorf("code %d: Retry is %t", c, c.Retry())
		}
	}
}

func TestDocumentListsTheLimits(t *testing.T) {
	want := map[string]int{
		"message of a client: input with the frame around it": MaxInput,
		"payload of a message from a room":                    MaxPayload,
		"data of a join":                                      MaxJoinData,
		"token of a hello or a resume":                        MaxToken,
		"filter of a find or browse":                          MaxFilter,
		"name of a kind":                                      MaxKindLen,
		"name of a room":                                      MaxRoomNameLen,
		"text of an error, a failure or an ending":            MaxReasonLen,
	}
	lines := readDocument(t)
	for what, n := range want {
		if !slices.Contains(lines, fmt.Sprintf("| %s | %d |", what, n)) {
			t.Errorf("the document does not say: %s: %d bytes", what, n)
		}
	}
	text := strings.Join(lines, "\n")
	for mode, name := range map[Mode]string{ModeJoin: "join", ModeCreate: "create", ModeJoinOrCreate: "join or create", ModeAny: "any"} {
		if !strings.Contains(text, fmt.Sprintf("\n| %s | %d |", name, mode)) {
			t.Errorf("the document does not say: mode %s is %d", name, mode)
		}
	}
	for how, name := range map[How]string{HowJoined: "joined", HowResumed: "resumed", HowGap: "gap", HowRewound: "rewound"} {
		if !strings.Contains(text, fmt.Sprintf("\n| %s | %d |", name, how)) {
			t.Errorf("the document does not say: how %s is %d", name, how)
		}
	}
	if !strings.Contains(text, fmt.Sprintf("This page is minor version %d.", Minor)) {
		t.Errorf("the document is not about minor version %d", Minor)
	}
}

// vector is an example for the tests of clients in other languages.
type vector struct {
	Frame string         `json:"frame"`
	Type  Type           `json:"type"`
	From  string         `json:"from"`
	Value map[string]any `json:"value"`
	Hex   string         `json:"hex"`
}

func TestVectorsAreTheDocuments(t *testing.T) {
	frames, _ := sections(t)
	var vectors []vector
	for _, s := range frames {
		for _, e := range s.examples {
			vectors = append(vectors, vector{s.name, s.typ, strings.TrimSuffix(s.from, "s"), e.values, hex.EncodeToString(e.msg)})
		}
	}
	want, err := json.MarshalIndent(vectors, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(vectorsPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorsPath)
	if err != nil || !bytes.Equal(have, want) {
		t.Errorf("%s is not what the document says (%v): go test ./wire -run Vectors -update", vectorsPath, err)
	}
}
