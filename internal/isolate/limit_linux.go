package isolate

import (
	"fmt"
	"os/exec"
	"syscall"
)

const rlimitData = 2

// CanLimitMemory says why Config.Memory can't be kept here; nil: it can.
func CanLimitMemory() error { return nil }

// limitData bounds the memory that this process can have mapped to write to. The
// runtime reports the allocation that goes beyond it, with the goroutine that
// asked for it.
func limitData(bytes int64) error {
	limit := syscall.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}
	if err := syscall.Setrlimit(rlimitData, &limit); err != nil {
		return fmt.Errorf("limit memory to %d bytes: %w", bytes, err)
	}
	return nil
}

// bind has the kernel kill the child when the thread that starts it ends, and
// keeps signals of a terminal from it.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// self is this process's program, also where another has taken its file's place.
const self = "/proc/self/exe"
