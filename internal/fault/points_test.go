package fault_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/limpet-games/limpet/internal/fault"
)

// TestPointsAreInTheCode holds the list against the code: each point is in one
// place, and no other is.
func TestPointsAreInTheCode(t *testing.T) {
	call := regexp.MustCompile(`fault\.Point\("([^"]*)"\)`)
	found := map[string]int{}
	for _, dir := range []string{"../../rooms", "../../snapshot"} {
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			b, err := os.ReadFile(path)
			for _, m := range call.FindAllStringSubmatch(string(b), -1) {
				found[m[1]]++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range fault.Points {
		if found[name] != 1 {
			t.Errorf("point %s is in the code %d times", name, found[name])
		}
		delete(found, name)
	}
	for name := range found {
		t.Errorf("point %s is not in the list", name)
	}
	if len(fault.Points) < 25 {
		t.Errorf("%d points", len(fault.Points))
	}
}
