package wire

import (
	"fmt"
	"strings"
	"testing"
)

func TestFiltersAreChecked(t *testing.T) {
	many := make([]string, MaxLabels+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	for _, bad := range []string{
		`[]`, `{`, `{"seat":1}`, `{"seats":-1}`, `{"seats":1001}`, `{"pool":"` + strings.Repeat("p", 65) + `"}`,
		`{"labels":{"k":"` + strings.Repeat("v", 65) + `"}}`, `{"labels":{` + strings.Join(many, ",") + `}}`,
		`{"pool":"a","labels":{"pool":"b"}}`, `{} {}`, `{}}`, `{}]x`, `{} x`, `null`, ` null `, `"x"`, ` `, `{"build":"` + strings.Repeat("b", 65) + `"}`,
		`{"pool":"` + strings.Repeat(" ", MaxFilter) + `"}`,
	} {
		if f, err := ParseFilter([]byte(bad)); err == nil {
			t.Errorf("%.60s was taken: %+v", bad, f)
		}
	}
}

func TestFilterMatches(t *testing.T) {
	labels := map[string]string{"map": "reef", "mode": "duel", "pool": "gold"}
	for text, want := range map[string][2]bool{ // finds, lists
		``:                                  {false, true},
		`{"pool":"gold"}`:                   {true, true},
		`{"labels":{"pool":"gold"}}`:        {true, true},
		`{"pool":"tin"}`:                    {false, false},
		`{"labels":{"map":"reef"}}`:         {false, true},
		`{"labels":{"map":"desert"}}`:       {false, false},
		`{"pool":"gold","labels":{"x":""}}`: {false, false},
	} {
		f, err := ParseFilter([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{f.Matches(labels), f.Lists(labels)}; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
