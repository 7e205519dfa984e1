//go:build unix && !linux

package isolate

import (
	"os/exec"
	"syscall"
)

func limitData(int64) error { return nil }

func bind(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

const self = ""
