//go:build unix && !linux

package isolate

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
)

// CanLimitMemory says why Config.Memory can't be kept here; nil: it can.
func CanLimitMemory() error {
	return fmt.Errorf("memory of a process can't be bounded on %s", runtime.GOOS)
}

func limitData(int64) error { return CanLimitMemory() }

func bind(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

const self = ""
