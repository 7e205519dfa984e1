package arena

import (
	"encoding/json"
	"strings"
	"unicode"

	"github.com/limpet-games/limpet/rooms"
)

// maxName is the length of a name in characters.
const maxName = 16

// profile is what a client says of itself when it joins.
type profile struct {
	Name string  `json:"name"`
	Hue  *uint16 `json:"hue"`
}

// readProfile decodes join data; none at all is fine.
func readProfile(data []byte) (profile, error) {
	var f profile
	if len(data) > 0 {
		if err := json.Unmarshal(data, &f); err != nil {
			return f, rooms.Refuse(`join data: want JSON like {"name":"Ann","hue":200}`)
		}
	}
	f.Name = cleanName(f.Name)
	return f, nil
}

// cleanName keeps what can be shown on one line.
func cleanName(s string) string {
	var b strings.Builder
	n := 0
	for _, c := range strings.Join(strings.Fields(s), " ") {
		if n == maxName {
			break
		}
		if unicode.IsPrint(c) && c != unicode.ReplacementChar {
			b.WriteRune(c)
			n++
		}
	}
	if name := strings.TrimSpace(b.String()); name != "" {
		return name
	}
	return "limpet"
}
