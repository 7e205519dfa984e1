//go:build faults

package fault

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// FileEnv names a file whose content is the point to die at; it may change at
// any time.
const FileEnv = "FAULT_FILE"

var armed atomic.Pointer[string]

func init() {
	for name := range Points {
		if strings.ContainsAny(name, " \n") {
			panic("fault: bad name " + name)
		}
	}
	path := os.Getenv(FileEnv)
	if path == "" {
		return
	}
	look(path)
	go func() { // for as long as the process lives, which a test decides
		for ; ; time.Sleep(5 * time.Millisecond) {
			look(path)
		}
	}()
}

func look(path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		b = nil
	}
	name := strings.TrimSpace(string(b))
	armed.Store(&name)
}

// Point kills the process, as SIGKILL does, where it is armed for the name.
func Point(name string) {
	if _, ok := Points[name]; !ok {
		panic("fault: no such point: " + name)
	}
	if at := armed.Load(); at == nil || *at != name {
		return
	}
	fmt.Fprintf(os.Stderr, "fault: dies at %s\n", name)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
