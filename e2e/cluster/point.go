package cluster

import (
	"os"
	"strings"
)

// Arm has the process die at a named point of internal/fault when it next comes
// there, if it was built with the tag faults; "": nowhere any more.
func (p *Process) Arm(point string) error {
	// In one step: the process looks at the file all the time.
	next := p.faultFile() + ".next"
	if err := os.WriteFile(next, []byte(point), 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.faultFile())
}

func (p *Process) faultFile() string { return strings.TrimSuffix(p.log, ".log") + ".fault" }

// Done is closed when the process that runs now has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}
